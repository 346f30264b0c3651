-- rest_framework.authtoken.
CREATE TABLE "authtoken_token" (
  "key" varchar(40) NOT NULL PRIMARY KEY,
  "created" datetime NOT NULL,
  "user_id" integer NOT NULL UNIQUE REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED
);

-- What Django has to know so that it adopts these tables instead of making them.
CREATE TABLE IF NOT EXISTS "django_migrations" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "app" varchar(255) NOT NULL,
  "name" varchar(255) NOT NULL,
  "applied" datetime NOT NULL
);

INSERT INTO "django_migrations" ("app", "name", "applied") VALUES
  ('authtoken', '0001_initial', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('authtoken', '0002_auto_20160226_1747', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('authtoken', '0003_tokenproxy', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
  ('authtoken', '0004_alter_tokenproxy_options', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000');
