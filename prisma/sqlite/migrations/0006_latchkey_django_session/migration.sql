-- django.contrib.sessions.
CREATE TABLE "django_session" (
  "session_key" varchar(40) NOT NULL PRIMARY KEY,
  "session_data" text NOT NULL,
  "expire_date" datetime NOT NULL
);
CREATE INDEX "django_session_expire_date_a5c62663" ON "django_session" ("expire_date");

-- What Django has to know so that it adopts this table instead of making it.
CREATE TABLE IF NOT EXISTS "django_migrations" (
  "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "app" varchar(255) NOT NULL,
  "name" varchar(255) NOT NULL,
  "applied" datetime NOT NULL
);

INSERT INTO "django_migrations" ("app", "name", "applied") VALUES
  ('sessions', '0001_initial', strftime('%Y-%m-%d %H:%M:%f', 'now') || '000');
