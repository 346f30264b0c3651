-- Users are found by email address in any case: at password resets, and at logins with LOGIN_FIELD=email.
CREATE INDEX IF NOT EXISTS "latchkey_user_email_lower" ON "auth_user" (LOWER("email"));
