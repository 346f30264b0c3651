import type { FastifyReply } from 'fastify'

/**
 * Adds the name of a request header to `Vary`; Django's patch_vary_headers. Names that others have set, such as CORS,
 * stay. Nothing is added if the name or `*` is already listed.
 */
export function varyBy(reply: FastifyReply, name: string): void {
  const names = String(reply.getHeader('vary') ?? '')
  const isListed = names.split(',').some((listed) => ['*', name.toLowerCase()].includes(listed.trim().toLowerCase()))
  if (!isListed) reply.header('vary', [names, name].filter(Boolean).join(', '))
}
