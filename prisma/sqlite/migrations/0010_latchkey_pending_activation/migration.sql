-- Accounts that wait for the link of their activation email. Deactivated accounts are not among them.
CREATE TABLE "latchkey_pending_activation" (
  "user_id" integer NOT NULL PRIMARY KEY
);
