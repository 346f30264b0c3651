-- The client of the last refresh.
ALTER TABLE "latchkey_session" ADD COLUMN "last_address" varchar(45) NOT NULL DEFAULT '';
ALTER TABLE "latchkey_session" ADD COLUMN "last_user_agent" varchar(255) NOT NULL DEFAULT '';
