-- Credentials of a user that are older than this are invalid.
CREATE TABLE "latchkey_credential_epoch" (
  "user_id" integer NOT NULL PRIMARY KEY,
  "not_before" timestamp with time zone NOT NULL
);
