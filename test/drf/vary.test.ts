import Fastify from 'fastify'
import t from 'tap'
import { varyBy } from '../../src/drf/vary.ts'

t.test('varyBy adds a header once and keeps those that are already in Vary', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/', async ({ headers }, reply) => {
    if (headers['x-before']) reply.header('vary', headers['x-before'])
    varyBy(reply, 'Cookie')
    varyBy(reply, 'cookie')
  })
  const varied: [before: string, after: string][] = [
    ['', 'Cookie'],
    ['Origin', 'Origin, Cookie'],
    ['accept, COOKIE', 'accept, COOKIE'],
    ['X-Cookie', 'X-Cookie, Cookie'],
    ['*', '*']
  ]
  for (const [before, after] of varied) {
    t.equal((await app.inject({ url: '/', headers: { 'x-before': before } })).headers.vary, after)
  }
})
