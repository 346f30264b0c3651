/** A real Django and Latchkey on the same database: users, hashes, times and tokens are valid in both. */
import t, { type Test } from 'tap'
import { migrate } from '../../src/database/migrate.ts'
import { HASHERS } from '../../src/settings/schema.ts'
import { onEachDatabase, type TestWorld } from '../support/build.ts'
import { addUser, obtainPair, type Pair, refreshWith } from '../support/journeys.ts'
import { claimsOf, jtiOf } from '../support/tokens.ts'
import { type Django, missing, startDjango } from './django.ts'

/** Not only ASCII, like the names of the users, of which there is one for each of Django's hashers. */
const PASSWORD = 'correct horse ünd bättery'
const USERS_OF_DJANGO = `
from django.contrib.auth.hashers import get_hashers
from django.contrib.auth.models import Group, Permission, User
from rest_framework_simplejwt.tokens import RefreshToken
answer = {"users": [], "tokens": {}}
editors = Group.objects.create(name="editors")
editors.permissions.add(Permission.objects.get(codename="change_user"))
for hasher in get_hashers():
    user = User(username="%s@ünï" % hasher.algorithm, email="x@example.com", first_name="Zoë")
    user.password = hasher.encode(given["password"], hasher.salt())
    user.save()
    user.groups.add(editors)
    answer["users"].append([user.username, user.id, user.date_joined.isoformat()])
live, dead = RefreshToken.for_user(user), RefreshToken.for_user(user)
dead.blacklist()
answer["tokens"] = {"live": str(live), "dead": str(dead)}
`

const WHAT_WE_WROTE = `
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken
from django.test import Client

def verdict(token_class, raw):
    try:
        return token_class(raw)["user_id"]
    except TokenError as error:
        return str(error)

user = User.objects.get(username=given["username"])
post = lambda path, **body: Client().post(path, body, content_type="application/json").status_code
answer = {
    "hash": user.password.split("$")[0],
    "joined": user.date_joined.timestamp(),
    "check_password": [user.check_password(given["password"]), user.check_password("wrong")],
    "authenticate": authenticate(username=given["username"], password=given["password"]) == user,
    "sign in": post("/api/token/", username=given["username"], password=given["password"]),
    "refresh": {name: post("/api/token/refresh/", refresh=raw) for name, raw in given["refresh"].items()},
    "refresh tokens": {name: verdict(RefreshToken, raw) for name, raw in given["refresh"].items()},
    "access token": verdict(AccessToken, given["access"]),
    "outstanding": {
        token.jti: [token.user_id, token.created_at.timestamp(), token.expires_at.timestamp(), token.token,
                    hasattr(token, "blacklistedtoken")]
        for token in OutstandingToken.objects.filter(user=user)
    },
}
`

interface Written {
  hash: string
  joined: number
  outstanding: Record<string, [number, number, number, string, boolean]>
  [question: string]: unknown
}

const settingsFor = ({ databaseUrl }: Django) => ({
  databaseUrl,
  passwordHashers: ['bcrypt_sha256' as const, ...HASHERS.filter((name) => name !== 'bcrypt_sha256' && name !== 'md5')],
  bcryptRounds: 4
})

/** Creates a user, logins, a refresh and a blacklisted token with Latchkey, and asserts that Django accepts them. */
async function aliceIsTheSameToDjango(
  t: Test,
  django: Django,
  { buildWithBlacklist: build }: TestWorld
): Promise<void> {
  const app = await build(t, settingsFor(django))
  const alice = await addUser(app, { username: 'alicé', password: PASSWORD })
  const [rotated, ended] = [await obtainPair(app, alice), await obtainPair(app, alice)]
  const successor: Pair = (await refreshWith(app, rotated.refresh)).json()
  await app.inject({ method: 'POST', url: '/api/token/blacklist/', payload: { refresh: ended.refresh } })
  const joined = (await app.auth.users.get('username', 'alicé'))?.dateJoined.getTime() ?? 0
  const refresh = { rotated: rotated.refresh, ended: ended.refresh, live: successor.refresh }

  const seen = await django.ask<Written>(WHAT_WE_WROTE, { ...alice, refresh, access: successor.access })

  t.match(seen, {
    hash: 'bcrypt_sha256',
    joined: joined / 1000,
    check_password: [true, false],
    authenticate: true,
    'sign in': 200,
    refresh: { rotated: 401, ended: 401, live: 200 },
    'refresh tokens': { rotated: 'Token is blacklisted', ended: 'Token is blacklisted', live: String(alice.id) },
    'access token': String(alice.id)
  })
  for (const [name, token] of Object.entries(refresh)) {
    const { iat, exp } = claimsOf(token)
    const [user, createdAt, expiresAt, text, blacklisted] = seen.outstanding[String(jtiOf(token))] ?? []
    t.strictSame([user, expiresAt, text, blacklisted], [alice.id, exp, token, name !== 'live'], name)
    t.equal(Math.floor(createdAt ?? 0), iat, 'created_at is iat')
  }
}

t.setTimeout(120_000)

if (missing) t.plan(0, missing)
else
  onEachDatabase(t, (t, world) => {
    t.test('Latchkey adopts a database of Django, and Django accepts the rows of Latchkey', async (t) => {
      const django = await startDjango(t, world)
      await django.manage(['migrate', '--verbosity=0'])
      const { users, tokens } = await django.ask<{ users: [string, number, string][]; tokens: Record<string, string> }>(
        USERS_OF_DJANGO,
        { password: PASSWORD }
      )
      const app = await world.buildWithBlacklist(t, settingsFor(django))

      t.ok(users.length >= 6)
      for (const [username, id, joined] of users) {
        const user = await app.auth.users.authenticate(username, PASSWORD)
        t.match(user, { id, username, firstName: 'Zoë', password: /^bcrypt_sha256\$/ }, username)
        t.equal(user?.dateJoined.getTime(), Math.trunc(Date.parse(joined)), `${username} joined ${joined}`)
        t.equal(user && (await app.auth.permissions.hasPerm(user, 'auth.change_user')), true)
        t.equal(
          (await refreshWith(app, (await obtainPair(app, { username, password: PASSWORD })).refresh)).statusCode,
          200
        )
      }
      t.equal((await refreshWith(app, tokens.live ?? '')).statusCode, 200)
      t.match((await refreshWith(app, tokens.dead ?? '')).json(), { detail: 'Token is blacklisted' })
      await aliceIsTheSameToDjango(t, django, world)
      t.match(await django.manage(['migrate', '--plan']), 'No planned migration operations')
    })

    t.test('Django adopts a database of Latchkey, and Latchkey accepts the rows of Django', async (t) => {
      const django = await startDjango(t, world)
      const environment = { DJANGO_SUPERUSER_PASSWORD: PASSWORD }
      await migrate(django.databaseUrl)
      await aliceIsTheSameToDjango(t, django, world)

      t.match(await django.manage(['migrate', '--fake-initial']), 'No migrations to apply')
      t.match(await django.manage(['migrate', '--plan']), 'No planned migration operations')
      t.match(await django.manage(['makemigrations', '--check', '--dry-run']), 'No changes detected')
      t.match(await django.manage(['check', '--database', 'default']), 'no issues')
      await django.manage(['createsuperuser', '--noinput', '--username=root', '--email=root@example.com'], environment)

      const app = await world.buildWithBlacklist(t, settingsFor(django))
      const root = await app.auth.users.authenticate('root', PASSWORD)
      t.match(root, { isSuperuser: true, isStaff: true, email: 'root@example.com' })
      t.ok(root && (await app.auth.permissions.hasPerm(root, 'auth.delete_user')))
      t.ok((await app.auth.database.permission.count()) > 20, 'Django has created its permissions')
      t.strictSame(await migrate(django.databaseUrl), [])
    })
  })
