import type { FastifyReply } from 'fastify'

/** Adds a header of the request to those that the answer depends on; others, such as CORS, may have named theirs. */
export function varyBy(reply: FastifyReply, name: string): void {
  const names = String(reply.getHeader('vary') ?? '')
  const isNamed = names.split(',').some((known) => ['*', name.toLowerCase()].includes(known.trim().toLowerCase()))
  if (!isNamed) reply.header('vary', [names, name].filter(Boolean).join(', '))
}
