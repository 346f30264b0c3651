import t from 'tap'
import { TokenUser } from '../../src/users/token-user.ts'

t.test('a token user takes username, is_staff and is_superuser from claims of the exact type only', async (t) => {
  const nothing = { username: '', isStaff: false, isSuperuser: false }
  const cases: [claims: object, told: object][] = [
    [{}, nothing],
    [{ username: 'alice' }, { ...nothing, username: 'alice' }],
    [{ is_staff: true }, { ...nothing, isStaff: true }],
    [{ is_superuser: true }, { ...nothing, isSuperuser: true }],
    [{ is_staff: false, is_superuser: null }, nothing],
    [{ is_staff: 1, is_superuser: 'true' }, nothing],
    [{ is_staff: [true], is_superuser: {} }, nothing],
    [{ username: 1, is_active: false }, nothing],
    [{ isStaff: true, isSuperuser: true, id: 2 }, nothing]
  ]

  for (const [claims, told] of cases) {
    const user = new TokenUser('1', 'id', claims as Record<string, unknown>)

    t.match(user, { id: '1', idField: 'id', isActive: true, ...told }, JSON.stringify(claims))
    t.equal(user.claims, claims)
  }
})

t.test('the id of a token user is a string, as in SimpleJWT, also if the claim is a number', async (t) => {
  t.equal(new TokenUser(7, 'id', {}).id, '7')
  t.equal(new TokenUser('alice', 'username', {}).id, 'alice')
  t.equal(new TokenUser('alice', 'username', {}).idField, 'username')
})
