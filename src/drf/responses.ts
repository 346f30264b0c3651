/** The response schemas that the views share. */
import Type, { type TSchema } from 'typebox'

/** DRF's `{"detail": …}`, with the `code` that SimpleJWT adds. */
const ErrorDetail = Type.Object({ detail: Type.String(), code: Type.Optional(Type.String()) })

/** DRF's validation errors: messages by field, or under `non_field_errors`. */
const FieldErrors = Type.Record(Type.String(), Type.Array(Type.String()))

/** 204, without a body. */
export const NoContent = Type.Null()

type ErrorStatus = 400 | 401 | 403 | 404 | 429 | 503

/** The schemas of error responses by status. */
export function errorResponses(...statuses: ErrorStatus[]): Record<number, TSchema> {
  return Object.fromEntries(statuses.map((status) => [status, status === 400 ? FieldErrors : ErrorDetail]))
}
