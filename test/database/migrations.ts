import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import facts from './django-tables.json' with { type: 'json' }

/** The first of them, whose tables are Django's, and which Django has made where it came first. */
const DJANGOS = ['0001_latchkey_auth', '0002_latchkey_authtoken', '0003_latchkey_token_blacklist']

/** All there are: Django's, and those of tables of our own. */
export const ALL = readdirSync(fileURLToPath(new URL('../../prisma/sqlite/migrations', import.meta.url)))
  .filter((name) => /^\d{4}_/.test(name))
  .sort()

if (DJANGOS.some((name, index) => ALL[index] !== name))
  throw new Error('Django’s migrations come first and never change')

/** Prisma's table of what has been applied. */
export const APPLIED = '_prisma_migrations'

/** By provider: what Django's tables are, as Django made them, and which of its migrations make them. */
export { facts }
