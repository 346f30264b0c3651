/** createsuperuser and changepassword, with input from a pipe, the environment and a terminal. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import latchkey from '../../src/index.ts'
import { KNOWN, startBreaches } from '../passwords/breaches.ts'
import { SIGNING_KEY, worldOf } from '../support/build.ts'
import { CHEAP } from '../support/settings.ts'
import { theWorld } from '../support/world.ts'
import { COMMAND, type Environment, emptyFolder, gather, latchkey as run, SLOWLY } from './command-line.ts'

// Each command starts a process.
t.setTimeout(SLOWLY)

const SCRIPT = '/usr/bin/script'
/** `script` has other options on other systems. */
const isBlind = process.platform !== 'linux' || !existsSync(SCRIPT)
/** In seconds. The timers of PostgreSQL's pool and Prisma's engine take 10 s, and must not delay the exit. */
const AT_ONCE = 5
const LOGIN = 's3cret-Pass!'

const environmentFor = (databaseUrl: string, more: Environment = {}): Environment => ({
  ...{ DATABASE_URL: databaseUrl, JWT_SIGNING_KEY: SIGNING_KEY, PASSWORD_HASHERS: 'md5', ...more }
})

const { databaseUrl } = worldOf('sqlite')

/** Checks credentials against a database. @returns for each its user, or null if they are invalid */
async function canSignIn(t: Test, databaseUrl: string, users: [username: string, password: string][]) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(latchkey, { ...CHEAP, databaseUrl })
  const found = []
  for (const [username, password] of users) {
    const user = await app.auth.users.authenticate(username, password)
    found.push(user && { email: user.email, isStaff: user.isStaff, isSuperuser: user.isSuperuser })
  }
  await app.close()
  return found
}

t.test('createsuperuser --noinput creates a superuser, and changepassword prompts for a new password', async (t) => {
  // PostgreSQL if available, because its connections could delay the exit.
  const provider = 'url' in (await theWorld()).postgres ? 'postgresql' : 'sqlite'
  const url = await worldOf(provider).databaseUrl(t)
  const folder = emptyFolder(t)
  const environment = environmentFor(url, { LATCHKEY_SUPERUSER_PASSWORD: LOGIN })
  const args = ['createsuperuser', '--noinput', '--username', 'root', '--email', 'root@EXAMPLE.com']

  const made = await run(folder, args, { environment })
  t.match(made, { code: 0, stdout: 'Superuser created successfully.\n', stderr: '' })
  t.ok(made.lingered < AT_ONCE, `${made.lingered} s`)
  const superuser = { email: 'root@example.com', isStaff: true, isSuperuser: true }
  t.strictSame(await canSignIn(t, url, [['root', LOGIN]]), [superuser])

  const input = 'not\nthe same\nanother-Pass-1\nanother-Pass-1\n'
  const changed = await run(folder, ['changepassword', 'root'], { environment, input })
  t.equal(changed.code, 0)
  t.ok(changed.lingered < AT_ONCE, `${changed.lingered} s`)
  t.equal(changed.stdout, "Changing password for user 'root'\nPassword changed successfully for user 'root'\n")
  t.match(changed.stderr, /^Password: Password \(again\): Error: Your passwords didn't match\.\nPassword: /)
  t.notMatch(changed.stderr, 'another-Pass')
  const passwords: [string, string][] = [
    ['root', LOGIN],
    ['root', 'another-Pass-1']
  ]
  t.strictSame(await canSignIn(t, url, passwords), [null, superuser])
})

t.test('with an empty LATCHKEY_SUPERUSER_PASSWORD the superuser has no usable password', async (t) => {
  const url = await databaseUrl(t)
  const environment = environmentFor(url, { LATCHKEY_SUPERUSER_PASSWORD: '' })
  const { code } = await run(emptyFolder(t), ['createsuperuser', '--noinput', '--username', 'root'], { environment })
  t.equal(code, 0)
  t.strictSame(await canSignIn(t, url, [['root', '']]), [null])
})

t.test('missing and invalid input is reported in one line with exit code 1', async (t) => {
  const url = await databaseUrl(t)
  const app = Fastify()
  await app.register(latchkey, { ...CHEAP, databaseUrl: url })
  await app.auth.users.createSuperuser({ username: 'root', password: LOGIN })
  await app.close()
  const faults: [args: string[], input: string, line: string][] = [
    [['createsuperuser', '--noinput'], '', 'You must use --username with --noinput.'],
    [['createsuperuser', '--noinput', '--username', 'root'], '', 'A user with that username already exists.'],
    [['createsuperuser'], 'r\n\nsecret\n', 'unexpected end of input; see `latchkey help` for options without prompts'],
    [['changepassword', 'root'], 'a-1\nb-1\n'.repeat(4), 'aborted after 3 attempts'],
    [['changepassword', 'nobody'], '', "user 'nobody' does not exist"]
  ]
  const environment = environmentFor(url)
  const outcomes = await Promise.all(faults.map(([args, input]) => run(emptyFolder(t), args, { environment, input })))
  for (const [index, [args, , line]] of faults.entries()) {
    const { code, stderr } = outcomes[index] as (typeof outcomes)[number]
    t.equal(code, 1, args.join(' '))
    t.equal(/latchkey: .*/s.exec(stderr)?.[0], `latchkey: ${line}\n`)
  }
  t.equal(outcomes[3]?.stderr.match(/didn't match/g)?.length, 3)
  t.match(await canSignIn(t, url, [['root', LOGIN]]), [{ isSuperuser: true }])
})

t.test('prompts accept input from a pipe, and blank passwords are rejected', async (t) => {
  const url = await databaseUrl(t)
  const input = `  root  \nroot@example.com\n   \n   \n${LOGIN}\n${LOGIN}\n`

  const outcome = await run(emptyFolder(t), ['createsuperuser'], { environment: environmentFor(url), input })

  t.equal(outcome.code, 0)
  t.equal(outcome.stdout, 'Superuser created successfully.\n')
  const asked = "Username: Email address: Password: Password (again): Error: Blank passwords aren't allowed.\n"
  t.equal(outcome.stderr, `${asked}Password: Password (again): `)
  t.match(await canSignIn(t, url, [['root', LOGIN]]), [{ email: 'root@example.com', isSuperuser: true }])
})

/** Runs a command at a pseudo-terminal and answers each prompt when it appears. @returns exit code and screen */
async function atTerminal(folder: string, args: string[], environment: Environment, answers: [RegExp, string][]) {
  // Without `timeout` the command would wait forever if the test is killed.
  const command = ['timeout', '--foreground', '60', ...COMMAND, ...args].map((part) => `'${part}'`).join(' ')
  const { PATH, HOME, TMPDIR } = process.env
  const env = { PATH, HOME, TMPDIR, TERM: 'xterm', ...environment }
  const child = spawn(SCRIPT, ['-qec', command, '/dev/null'], { cwd: folder, env, stdio: 'pipe' })
  const screen = gather(child.stdout)
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000)
  let seen = 0
  child.stdout.on('data', () => {
    const [question, answer] = answers[0] ?? []
    const found = question?.exec(screen().slice(seen))
    if (!found || answer === undefined) return
    seen += found.index + found[0].length
    answers.shift()
    child.stdin.write(answer)
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  clearTimeout(timer)
  return { code, screen: screen() }
}

t.test('terminal', { skip: isBlind && '`script` is not available' }, async (t) => {
  t.test('input is echoed, except for passwords', async (t) => {
    const url = await databaseUrl(t)
    const { code, screen } = await atTerminal(emptyFolder(t), ['createsuperuser'], environmentFor(url), [
      [/Username: /, 'roof\x7ft\r'],
      [/Email address: /, 'root@example.com\r'],
      [/Password: /, `${LOGIN}X\x7f\r`],
      [/Password \(again\): /, `${LOGIN}\r`]
    ])

    t.equal(code, 0, screen)
    t.match(screen, /Username: roo/)
    t.match(screen, 'root@example.com')
    t.match(screen, /Password: \r?\nPassword \(again\): \r?\nSuperuser created successfully\./)
    t.notMatch(screen, /s3cret|Pass!/)
    t.match(await canSignIn(t, url, [['root', LOGIN]]), [{ isSuperuser: true }])
  })

  t.test('Ctrl-C exits with code 1 and creates no user', async (t) => {
    const url = await databaseUrl(t)
    const { code, screen } = await atTerminal(emptyFolder(t), ['createsuperuser'], environmentFor(url), [
      [/Username: /, 'root\r'],
      [/Email address: /, '\r'],
      [/Password: /, 's3c\x03']
    ])

    t.equal(code, 1)
    t.notMatch(screen, /s3c|\n {4}at /)
    t.match(screen, /latchkey: cancelled\r?\n$/)
    t.strictSame(await canSignIn(t, url, [['root', 's3c']]), [null])
  })
})

t.test('weak passwords are rejected with the reasons; only createsuperuser can bypass validation', async (t) => {
  const url = await databaseUrl(t)
  const environment = environmentFor(url)
  const weak = 'This password is too short. It must contain at least 8 characters.\nThis password is too common.\n'

  const input = 'root\n\nrooty\nrooty\nn\nsecret\nsecret\ny\n'
  const made = await run(emptyFolder(t), ['createsuperuser'], { environment, input })
  t.equal(made.code, 0)
  t.match(made.stderr, 'The password is too similar to the username.\n')
  t.match(made.stderr, `${weak}Bypass password validation and create user anyway? [y/N]: `)
  const changed = await run(emptyFolder(t), ['changepassword', 'root'], {
    environment,
    input: 'secret\nsecret\n'.repeat(3)
  })
  t.equal(changed.code, 1)
  t.match(changed.stderr, `${weak}Password: `)
  t.match(await canSignIn(t, url, [['root', 'secret']]), [{ isSuperuser: true }])
})

t.test('breached passwords are rejected; if the check is unavailable, they are accepted with a warning', async (t) => {
  const url = await databaseUrl(t)
  const { url: breaches, stop } = await startBreaches(t)
  const environment = environmentFor(url, { PASSWORD_BREACHED_URL: breaches, LATCHKEY_SUPERUSER_PASSWORD: LOGIN })
  const folder = emptyFolder(t)
  await run(folder, ['createsuperuser', '--noinput', '--username', 'root'], { environment })

  const input = `${KNOWN}\n${KNOWN}\n`
  const refused = await run(folder, ['changepassword', 'root'], { environment, input: input.repeat(3) })
  t.equal(refused.code, 1)
  t.match(refused.stderr, 'This password has appeared in a data breach.\nPassword: ')
  await stop()
  const passed = await run(folder, ['changepassword', 'root'], { environment, input })
  t.equal(passed.code, 0)
  t.match(passed.stderr, 'latchkey: could not check the password against known breaches: ECONNREFUSED\n')
  t.match(await canSignIn(t, url, [['root', KNOWN]]), [{ isSuperuser: true }])
})
