/** Browser sessions shared by a real Django and Latchkey. */
import t from 'tap'
import { masked, unmasked } from '../../src/authentication/csrf.ts'
import { openBrowser } from '../support/browser.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, PASSWORD } from '../support/journeys.ts'
import { missing, startDjango } from './django.ts'

const SIGN_IN_AT_DJANGO = `
from django.contrib.auth.models import User
from django.test import Client
user = User.objects.create_user("maria", password=given["password"])
client = Client()
client.login(username="maria", password=given["password"])
session = client.session
session["cart"] = ["ü", 1]
session.save()
answer = {"id": user.id, "key": client.cookies["sessionid"].value}
`

const SEE_AT_DJANGO = `
from django.contrib.auth import get_user, update_session_auth_hash
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
def see(key):
    request = HttpRequest()
    request.session = SessionStore(key)
    return [get_user(request).username, request.session.get("cart"), request.session.get_expiry_age()]
answer = [see(key) for key in given["keys"]]
`

const CHECK_TOKENS = `
from django.middleware.csrf import _does_token_match, _mask_cipher_secret
from django.test import RequestFactory
from django.middleware.csrf import CsrfViewMiddleware
def reason(token):
    request = RequestFactory().post("/", headers={"X-CSRFToken": token, "Cookie": "csrftoken=" + given["secret"]})
    middleware = CsrfViewMiddleware(lambda request: None)
    middleware.process_request(request)
    return middleware.process_view(request, lambda request: None, [], {}) is None
answer = {"accepted": [reason(token) for token in given["tokens"]], "masked": _mask_cipher_secret(given["secret"])}
`

t.setTimeout(120_000)

if (missing) t.plan(0, missing)
else
  onEachDatabase(t, (t, world) => {
    t.test('sessions and CSRF tokens of Django and Latchkey are valid in both', async (t) => {
      const django = await startDjango(t, world)
      await django.manage(['migrate', '--verbosity=0'])
      const { id, key } = await django.ask<{ id: number; key: string }>(SIGN_IN_AT_DJANGO, { password: PASSWORD })
      const app = await world.build(t, { databaseUrl: django.databaseUrl, authenticationSchemes: ['session'] })
      const theirs = openBrowser(app)
      theirs.cookies.set('sessionid', key)

      t.match((await theirs.send({ url: '/api/session/' })).json(), { user: { id, username: 'maria' } })
      t.match((await app.auth.browserSessions.find(key))?.session.data, { cart: ['ü', 1] })

      await addUser(app)
      const ours = openBrowser(app)
      await ours.signIn()
      const maria = await app.auth.users.get('id', id)
      const session = (await app.auth.browserSessions.find(key))?.session
      if (!maria || !session) throw new Error('no session')
      const renewed = await app.auth.browserSessions.renew(session, maria)
      const keys = [ours.cookies.get('sessionid'), renewed.key, key]
      const seen = await django.ask<[string, unknown, number][]>(SEE_AT_DJANGO, { keys })
      t.strictSame(
        seen.map(([name, cart]) => [name, cart]),
        [
          ['alice', null],
          ['maria', ['ü', 1]],
          ['', null]
        ]
      )

      const secret = ours.cookies.get('csrftoken') ?? ''
      const tokens = [secret, masked(secret, 'x'.repeat(32)), 'x'.repeat(64)]
      const checked = await django.ask<{ accepted: boolean[]; masked: string }>(CHECK_TOKENS, { secret, tokens })
      t.strictSame(checked.accepted, [true, true, false])
      t.equal(unmasked(checked.masked), secret)
      t.match(await django.manage(['clearsessions']), '')
    })
  })
