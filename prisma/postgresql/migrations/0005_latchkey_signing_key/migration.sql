-- The keys that sign tokens.
CREATE TABLE "latchkey_signing_key" (
  "kid" varchar(43) NOT NULL PRIMARY KEY,
  "algorithm" varchar(5) NOT NULL,
  "sealed" text NULL,
  "public_jwk" text NULL,
  "role" varchar(7) NULL,
  "created_at" timestamp with time zone NOT NULL,
  "activated_at" timestamp with time zone NULL,
  "expires_at" timestamp with time zone NULL,
  "revoked_at" timestamp with time zone NULL,
  CONSTRAINT "latchkey_signing_key_role_uniq" UNIQUE ("role")
);
