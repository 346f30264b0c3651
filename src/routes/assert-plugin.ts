import type { FastifyInstance } from 'fastify'
import { ImproperlyConfigured } from '../errors.ts'

/** @throws {ImproperlyConfigured} if the plugin is not registered, or in another scope */
export function assertPlugin(app: FastifyInstance, name: string): void {
  if (app.hasDecorator('auth')) return
  throw new ImproperlyConfigured([
    `${name}: register the plugin before, on the same app: await app.register(latchkey, …)`
  ])
}
