import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import facts from './django-tables.json' with { type: 'json' }

/** The first migrations, which create Django's tables unless Django has created them. */
const DJANGOS = ['0001_latchkey_auth', '0002_latchkey_authtoken', '0003_latchkey_token_blacklist']

/** The names of all migrations: those of Django's tables and those of Latchkey's. */
export const ALL = readdirSync(fileURLToPath(new URL('../../prisma/sqlite/migrations', import.meta.url)))
  .filter((name) => /^\d{4}_/.test(name))
  .sort()

if (DJANGOS.some((name, index) => ALL[index] !== name))
  throw new Error('the migrations of Django’s tables must come first and not change')

/** Prisma's table of applied migrations. */
export const APPLIED = '_prisma_migrations'

/** Django's tables by provider, as created by Django, and the migrations of Django that create them. */
export { facts }
