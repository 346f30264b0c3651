/** The example app in a real browser, with page and API on different origins. */
import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { SLOWLY } from '../cli/command-line.ts'
import { type Example, missing, openBrowser, startExample } from './browser.ts'

t.setTimeout(SLOWLY)

interface Visit {
  context: BrowserContext
  /** Loads the page in a new tab. */
  open(): Promise<Page>
  /** The requests to the API so far, such as `POST token/refresh/`. */
  requests: string[]
  /** Uncaught errors and violations of the Content-Security-Policy. */
  complaints: string[]
}

t.test('the example app', { skip: missing }, async (t) => {
  const browser = await openBrowser(t)
  for (const mode of ['bearer', 'cookie'] as const) {
    t.test(`${mode} mode`, async (t) => {
      const example = await startExample(t, mode)
      const context = await browser.newContext()
      t.teardown(() => context.close())
      await journey(t, visitOf(context, example), mode)
    })
  }
})

function visitOf(context: BrowserContext, { page: address, api }: Example): Visit {
  const [requests, complaints]: string[][] = [[], []]
  context.on('request', (request) => {
    if (request.url().startsWith(api)) requests?.push(`${request.method()} ${request.url().slice(api.length)}`)
  })
  context.on('weberror', (error) => complaints?.push(String(error.error())))
  context.on('console', (message) => {
    if (/Content Security Policy|TrustedHTML/.test(message.text())) complaints?.push(message.text())
  })
  const open = async () => {
    const page = await context.newPage()
    await page.goto(address)
    return page
  }
  return { context, open, requests: requests as string[], complaints: complaints as string[] }
}

const signedIn = (page: Page) => page.getByText('Signed in as alice.').waitFor()
const signedOut = (page: Page) => page.getByRole('button', { name: 'Sign in' }).waitFor()
const said = (page: Page, text: string) => page.getByRole('status').getByText(text).waitFor()
const call = (page: Page) => page.getByRole('button', { name: 'Call a protected route' }).click()

async function signIn(page: Page, password: string): Promise<void> {
  await page.getByLabel('Username').fill('alice')
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

async function journey(t: Test, visit: Visit, mode: 'bearer' | 'cookie'): Promise<void> {
  const { context, open, requests, complaints } = visit
  const refreshes = () => requests.filter((line) => line === 'POST token/refresh/').length
  const one = await open()

  await t.test('a failed login shows the reason, and a successful one the list of sessions', async (t) => {
    await signIn(one, 'wrong')
    await said(one, 'No active account found with the given credentials')
    await signIn(one, 's3cret-Pass!')
    await signedIn(one)
    await one
      .getByRole('listitem')
      .getByText(/^Current session, since 2\S+: Mozilla\//)
      .waitFor()
    await call(one)
    await said(one, 'This is a protected view.')
    t.strictSame(complaints, [])
  })

  await t.test('the login survives a reload, and in cookie mode scripts cannot read the refresh token', async (t) => {
    await one.reload()
    await signedIn(one)
    const kept = await one.evaluate('JSON.stringify({ ...localStorage }) + document.cookie')
    const cookies = await context.cookies()
    if (mode === 'bearer') t.match(kept, /latchkey\.http_localhost.*refresh/)
    else t.equal(kept, '{}')
    if (mode === 'cookie')
      t.match(cookies, [{ httpOnly: true, name: /^__(Host|Secure)-/, sameSite: /^(Strict|Lax)$/, secure: true }])
  })

  const other = await open()
  await t.test('two tabs with expired tokens both continue', async (t) => {
    await signedIn(other)
    const later = Date.now() + 600_000
    for (const page of [one, other]) await page.clock.setFixedTime(later)
    const before = refreshes()
    await Promise.all([call(one), call(other)])
    for (const page of [one, other]) await said(page, 'This is a protected view.')
    t.equal(refreshes() - before, mode === 'bearer' ? 1 : 2, 'in bearer mode one refresh for both tabs')
  })

  await t.test('without network the user stays signed in', async () => {
    await context.setOffline(true)
    for (const page of [one, other]) await page.clock.setFixedTime(Date.now() + 1_200_000)
    await call(one)
    await said(one, 'No connection.')
    await context.setOffline(false)
    await call(one)
    await said(one, 'This is a protected view.')
  })

  await t.test('a logout in one tab applies to all tabs and deletes all tokens', async (t) => {
    await other.getByRole('button', { name: 'Sign out' }).click()
    await Promise.all([signedOut(one), signedOut(other)])
    await one.reload()
    await signedOut(one)
    t.strictSame(await context.cookies(), [])
    t.equal(await one.evaluate('JSON.stringify({ ...localStorage })'), '{}')
    t.ok(requests.includes('POST token/blacklist/'))
    t.strictSame(complaints, [])
  })

  await t.test('a login in one tab applies to all tabs', async () => {
    await signIn(one, 's3cret-Pass!')
    await Promise.all([signedIn(one), signedIn(other)])
  })
}
