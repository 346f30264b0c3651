-- Logins, and what of them is refused at once.
CREATE TABLE "latchkey_session" (
  "id" varchar(32) NOT NULL PRIMARY KEY,
  "user_id" integer NOT NULL,
  "jti" varchar(64) NOT NULL,
  "previous_jti" varchar(64) NULL,
  "created_at" datetime NOT NULL,
  "refreshed_at" datetime NOT NULL,
  "idle_expires_at" datetime NOT NULL,
  "expires_at" datetime NOT NULL,
  "label" varchar(100) NOT NULL,
  "user_agent" varchar(255) NOT NULL,
  "address" varchar(45) NOT NULL,
  "ended_at" datetime NULL,
  "end_reason" varchar(20) NULL
);
CREATE INDEX "latchkey_session_user_id" ON "latchkey_session" ("user_id");
CREATE INDEX "latchkey_session_idle_expires_at" ON "latchkey_session" ("idle_expires_at");
CREATE TABLE "latchkey_revocation" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "sid" varchar(32) NULL,
  "subject" varchar(150) NULL,
  "revoked_at" datetime NOT NULL,
  "expires_at" datetime NOT NULL
);
CREATE INDEX "latchkey_revocation_expires_at" ON "latchkey_revocation" ("expires_at");
