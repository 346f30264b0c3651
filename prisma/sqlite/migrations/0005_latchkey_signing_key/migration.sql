-- The keys that sign tokens.
CREATE TABLE "latchkey_signing_key" (
  "kid" varchar(43) NOT NULL PRIMARY KEY,
  "algorithm" varchar(5) NOT NULL,
  "sealed" text NULL,
  "public_jwk" text NULL,
  "role" varchar(7) NULL,
  "created_at" datetime NOT NULL,
  "activated_at" datetime NULL,
  "expires_at" datetime NULL,
  "revoked_at" datetime NULL
);
CREATE UNIQUE INDEX "latchkey_signing_key_role_uniq" ON "latchkey_signing_key" ("role");
