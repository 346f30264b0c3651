/** `/jwt/…`: djoser's URLs of three of SimpleJWT's views. */
import type { FastifyInstance } from 'fastify'
import { obtainView, refreshView, verifyView } from '../api/token.ts'

export function jwtRoutes(app: FastifyInstance): void {
  obtainView(app, '/jwt/create/')
  refreshView(app, '/jwt/refresh/')
  verifyView(app, '/jwt/verify/')
}
