/** Runs the recorded cases against Latchkey on each database. */
import t from 'tap'
import { onEachDatabase, type Scope, type TestWorld } from '../support/build.ts'
import { type Case, groupOf, readCases } from './case.ts'
import { type Corruption, corruptions } from './corrupt.ts'
import { act, judge, type Outcome } from './runner.ts'
import { makeFixture, openTarget } from './target.ts'

/** The groups of which all cases must pass. The others are run too, and their results only reported. */
const DUE = [
  'obtain',
  'refresh',
  'verify',
  'blacklist',
  'auth',
  'perm',
  'sliding',
  'basic',
  'token',
  'throttle',
  'modelperm',
  'page',
  'authtoken',
  'djoser',
  'users'
]

/** Cases with intentionally different responses, which test/security/email-links.test.ts tests. */
const DIFFERENT: Record<string, string> = {
  'users.reset_confirm_bad_uid': 'the original reveals which user ids exist',
  'users.activation_of_active_user': 'a token of a password reset is invalid for an activation'
}

const RECORDED = readCases()
const CASES = RECORDED.filter(({ name }) => !(name in DIFFERENT))
const GROUPS = [...new Set(CASES.map(groupOf))]
const casesOf = (group: string) => CASES.filter((recorded) => groupOf(recorded) === group)

// A file that is run without tap's settings has a timeout of 30 s.
t.setTimeout(300_000)

interface Result {
  recorded: Case
  faults: string[]
  outcome?: Outcome
}

t.test('every required group has cases', async (t) => {
  for (const group of DUE) t.ok(casesOf(group).length, group)
})

onEachDatabase(t, async (t, world) => {
  const fixture = await makeFixture(t, world)
  const runAll = (cases: Case[]) => inLanes(cases, (recorded) => run(recorded, world, fixture))
  const good: Result[] = []

  for (const group of DUE) {
    t.test(group, async (t) => {
      for (const result of await runAll(casesOf(group))) {
        t.strictSame(result.faults, [], result.recorded.name)
        if (result.faults.length === 0) good.push(result)
      }
    })
  }

  t.test('cases with intentionally different responses differ from the recordings', async (t) => {
    const different = RECORDED.filter(({ name }) => name in DIFFERENT)
    t.equal(different.length, Object.keys(DIFFERENT).length)
    for (const { recorded, faults } of await runAll(different)) t.ok(faults.length > 0, recorded.name)
  })

  for (const group of GROUPS.filter((name) => !DUE.includes(name))) {
    t.test(`${group} (not required yet)`, async (t) => {
      const results = await runAll(casesOf(group))
      const held = results.filter(({ faults }) => faults.length === 0)
      for (const { recorded, faults } of results) {
        t.comment(
          faults.length === 0 ? `passes: ${recorded.name}` : `does not pass yet: ${recorded.name}: ${brief(faults)}`
        )
      }
      t.plan(0, `not required yet: ${held.length} of ${results.length} pass`)
    })
  }

  t.test('the runner detects every corruption of every passing case', async (t) => {
    t.not(good.length, 0, 'some cases pass')
    for (const { recorded, outcome } of good) {
      const missed = corruptions(recorded).filter(({ spoilt }) => judge(spoilt, outcome as Outcome).length === 0)
      t.strictSame(namesOf(missed), [], recorded.name)
    }
  })

  t.test('corrupted cases also fail in a complete run', async (t) => {
    const recorded = CASES.find(({ name }) => name === 'refresh.rotation_returns_both') as Case
    const kinds = ['status', 'json without access', 'json.access: lifetime', 'json.refresh: user_id', 'key_order']
    const rows = Object.keys(recorded.db_expect ?? {}).map((sql) => `${sql}[0][0]`)
    const chosen = corruptions(recorded).filter(({ label }) => [...kinds, ...rows].includes(label))
    t.equal(chosen.length, kinds.length + rows.length)

    const results = await runAll([recorded, ...chosen.map(({ spoilt }) => spoilt)])

    t.strictSame(results[0]?.faults, [])
    for (const [index, { label }] of chosen.entries()) t.equal(results[index + 1]?.faults.length, 1, label)
  })
})

const brief = ([first = '']: string[]) => first.replace(/\s+/g, ' ').slice(0, 160)
const namesOf = (found: Corruption[]) => found.map(({ label }) => label)

/** More than cores, because a case mostly waits for its database. */
const LANES = 6

async function inLanes<Item, Result>(items: Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  const waiting = items.entries()
  const lane = async () => {
    for (const [index, item] of waiting) results[index] = await work(item)
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return results
}

/** Runs a case on a new app and database, which are deleted afterwards. */
async function run(recorded: Case, world: TestWorld, fixture: string): Promise<Result> {
  const endings: (() => unknown)[] = []
  const scope: Scope = { teardown: (work) => void endings.unshift(work) }
  try {
    const outcome = await act(recorded, await openTarget(scope, world, fixture, recorded.config))
    return { recorded, outcome, faults: judge(recorded, outcome) }
  } catch (error) {
    return { recorded, faults: [error instanceof Error ? (error.stack ?? error.message) : String(error)] }
  } finally {
    for (const end of endings) await end()
  }
}
