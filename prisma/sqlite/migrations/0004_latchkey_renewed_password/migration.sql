-- Fingerprints of hashes that were renewed at a login.
CREATE TABLE "latchkey_renewed_password" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "user_id" integer NOT NULL,
  "before" varchar(32) NOT NULL,
  "after" varchar(32) NOT NULL,
  "renewed_at" datetime NOT NULL
);
CREATE UNIQUE INDEX "latchkey_renewed_password_user_id_before_uniq" ON "latchkey_renewed_password" ("user_id", "before");
CREATE INDEX "latchkey_renewed_password_renewed_at" ON "latchkey_renewed_password" ("renewed_at");
