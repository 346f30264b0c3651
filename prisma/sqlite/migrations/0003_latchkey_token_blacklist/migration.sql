-- rest_framework_simplejwt.token_blacklist.
CREATE TABLE "token_blacklist_outstandingtoken" (
  "token" text NOT NULL,
  "created_at" datetime NULL,
  "expires_at" datetime NOT NULL,
  "user_id" integer NULL REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED,
  "jti" varchar(255) NOT NULL UNIQUE,
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT
);
CREATE INDEX "token_blacklist_outstandingtoken_user_id_83bc629a" ON "token_blacklist_outstandingtoken" ("user_id");

CREATE TABLE "token_blacklist_blacklistedtoken" (
  "blacklisted_at" datetime NOT NULL,
  "token_id" bigint NOT NULL UNIQUE REFERENCES "token_blacklist_outstandingtoken" ("id") DEFERRABLE INITIALLY DEFERRED,
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT
);

-- What Django has to know so that it adopts these tables instead of making them.
CREATE TABLE IF NOT EXISTS "django_migrations" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "app" varchar(255) NOT NULL,
  "name" varchar(255) NOT NULL,
  "applied" datetime NOT NULL
);

INSERT INTO "django_migrations" ("app", "name", "applied") VALUES
  ('token_blacklist', '0001_initial', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0002_outstandingtoken_jti_hex', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0003_auto_20171017_2007', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0004_auto_20171017_2013', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0005_remove_outstandingtoken_jti', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0006_auto_20171017_2113', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0007_auto_20171017_2214', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0008_migrate_to_bigautofield', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0010_fix_migrate_to_bigautofield', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0011_linearizes_history', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0012_alter_outstandingtoken_user', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('token_blacklist', '0013_alter_blacklistedtoken_options_and_more', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000');
