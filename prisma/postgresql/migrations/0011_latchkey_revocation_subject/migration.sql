-- Former usernames are looked up when a refresh token names its user by username.
CREATE INDEX "latchkey_revocation_subject" ON "latchkey_revocation" ("subject");
