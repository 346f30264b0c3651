-- Email addresses that users have asked for and not yet confirmed.
CREATE TABLE "latchkey_pending_email" (
  "user_id" integer NOT NULL PRIMARY KEY,
  "email" varchar(254) NOT NULL
);

-- The number of emails to each recipient in an hour.
CREATE TABLE "latchkey_email_count" (
  "recipient" varchar(320) NOT NULL PRIMARY KEY,
  "started_at" timestamp with time zone NOT NULL,
  "count" integer NOT NULL
);
CREATE INDEX "latchkey_email_count_started_at" ON "latchkey_email_count" ("started_at");
