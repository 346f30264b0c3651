/** modelPermissions and objectPermissions: the permissions that each method requires. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { errorHandler, modelPermissions, not, objectPermissions } from '../../src/index.ts'
import { grant } from '../permissions/rights.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, obtainPair } from '../support/journeys.ts'

const METHODS = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

/** Adds a route with all methods for each guard. With `?mine` the object belongs to the caller. */
function routes(app: FastifyInstance): void {
  app.setErrorHandler(errorHandler)
  app.addHttpMethod('PURGE')
  const own = { hasPerm: ({ url }: { url: string }) => url.includes('mine') }
  const guards = {
    model: modelPermissions('blog.post'),
    anonymous: modelPermissions('blog.post', { anonymousReads: true }),
    mapped: modelPermissions('blog.post', { map: { GET: ['view'], POST: ['add', 'blog.publish_post'] } }),
    object: objectPermissions('blog.post', own),
    seen: objectPermissions('blog.post', { map: { GET: ['view'] }, hasPerm: (_, name) => name === 'blog.view_post' }),
    not: not(modelPermissions('blog.post'))
  }
  for (const [name, preHandler] of Object.entries(guards)) {
    app.route({
      method: [...METHODS, 'PURGE'],
      url: `/${name}/`,
      exposeHeadRoute: false,
      preHandler,
      handler: async () => 'ok'
    })
  }
}

onEachDatabase(t, async (t, { build, databaseUrl }) => {
  const url = await databaseUrl(t)
  const app = await build(t, { databaseUrl: url }, routes)
  const tokenOf = async (username: string, ...codenames: string[]) => {
    const user = await addUser(app, { username, isSuperuser: username === 'root', isStaff: username === 'root' })
    for (const codename of codenames) await grant(app, user.id, `blog.${codename}`)
    return bearer((await obtainPair(app, user)).access)
  }
  const reader = await tokenOf('reader')
  const viewer = await tokenOf('viewer', 'view_post')
  const writer = await tokenOf('writer', 'add_post', 'change_post', 'delete_post')
  const root = await tokenOf('root')
  const statuses = async (path: string, headers: Record<string, string> = {}, methods: readonly string[] = METHODS) => {
    const found: Record<string, number> = {}
    for (const method of methods)
      found[method] = (await app.inject({ method: method as 'GET', url: path, headers })).statusCode
    return found
  }
  const reads = { GET: 200, HEAD: 200, OPTIONS: 200 }
  const writes = (status: number) => ({ POST: status, PUT: status, PATCH: status, DELETE: status })

  t.test('reading requires authentication only, and writing the permission of its method', async (t) => {
    t.strictSame(await statuses('/model/'), { GET: 401, HEAD: 401, OPTIONS: 401, ...writes(401) })
    t.strictSame(await statuses('/model/', reader), { ...reads, ...writes(403) })
    t.strictSame(await statuses('/model/', writer), { ...reads, ...writes(200) })
    t.strictSame(await statuses('/model/', root), { ...reads, ...writes(200) })
  })

  t.test('with anonymousReads anonymous callers can read but not write (401)', async (t) => {
    t.strictSame(await statuses('/anonymous/'), { ...reads, ...writes(401) })
  })

  t.test('map replaces the permissions of its methods, and HEAD requires those of GET', async (t) => {
    t.strictSame(await statuses('/mapped/', viewer, ['GET', 'HEAD', 'OPTIONS']), reads)
    t.strictSame(await statuses('/mapped/', writer, ['GET', 'HEAD', 'POST', 'PUT']), {
      GET: 403,
      HEAD: 403,
      POST: 403,
      PUT: 200
    })
    t.strictSame(await statuses('/mapped/', root), { ...reads, ...writes(200) })
  })

  t.test('a method without a mapping returns 405', async (t) => {
    for (const headers of [reader, root]) t.strictSame(await statuses('/model/', headers, ['PURGE']), { PURGE: 405 })
  })

  t.test('object permissions are checked after those of the model (403), and superusers hold them all', async (t) => {
    t.strictSame(await statuses('/object/?mine', writer), { ...reads, ...writes(200) })
    t.strictSame(
      await statuses('/object/', writer),
      { ...reads, ...writes(403) },
      'reading requires no permission by default'
    )
    t.strictSame(await statuses('/object/', reader), { ...reads, ...writes(403) }, 'the model is checked first')
    t.strictSame(await statuses('/object/', root), { ...reads, ...writes(200) })
    t.strictSame(await statuses('/object/'), { GET: 401, HEAD: 401, OPTIONS: 401, ...writes(401) })
    t.strictSame(await statuses('/seen/', viewer, ['GET', 'POST']), { GET: 200, POST: 403 })
    const hidden = await app.inject({ method: 'DELETE', url: '/seen/', headers: writer })
    t.equal(hidden.statusCode, 403, 'not 404, as the object can be read')
  })

  t.test('not() inverts a denied permission but not the 405 of a method without a mapping', async (t) => {
    t.strictSame(await statuses('/not/', reader, ['GET', 'POST', 'PURGE']), { GET: 403, POST: 200, PURGE: 405 })
  })
})
