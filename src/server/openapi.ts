/** The OpenAPI document of all routes at `/openapi.json`, and Swagger UI at `/docs/`. */
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import type { Settings } from '../settings/schema.ts'
import { version } from '../version.ts'

/** Must be registered before the routes that the document describes. */
export async function registerOpenApi(app: FastifyInstance, { sessionCookieName }: Settings): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Latchkey',
        version,
        description: 'Users, groups, permissions and authentication, compatible with Django, SimpleJWT and djoser.'
      },
      components: {
        securitySchemes: {
          jwt: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
          basic: { type: 'http', scheme: 'basic' },
          token: { type: 'apiKey', in: 'header', name: 'Authorization', description: '`Token <key>`' },
          session: { type: 'apiKey', in: 'cookie', name: sessionCookieName ?? 'sessionid' }
        }
      }
    }
  })
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
}
