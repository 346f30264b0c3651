/** The tokens of a login session, and what the access token says. */

/**
 * The tokens of a login session, as they are stored. Times are those of the client's clock, which may differ from the
 * server's.
 */
export interface Tokens {
  access: string
  /** Absent in cookie mode, in which scripts cannot read it. */
  refresh?: string
  /** The time of the request, which is before the access token was issued. */
  requestedAtMs: number
  /** The expiry of the access token, or earlier; null if the token does not contain it. */
  expiresAtMs: number | null
}

/** The user of a login session, from the access token. */
export interface Identity {
  /** The claim `user_id`, or `sub`; null if the token has neither. */
  userId: string | null
  /** All claims of the access token; empty if the token cannot be read. */
  claims: Record<string, unknown>
}

/** @returns null if the body has no access token */
export function readTokens(body: unknown, requestedAtMs: number): Tokens | null {
  const { access, refresh } = (body ?? {}) as Record<string, unknown>
  if (typeof access !== 'string') return null
  const { exp, iat } = claimsOf(access)
  // A duration, so that a wrong clock of the client does not matter.
  const lifetimeMs = (Number(exp) - Number(iat)) * 1000
  return {
    access,
    ...(typeof refresh === 'string' && { refresh }),
    requestedAtMs,
    expiresAtMs: Number.isFinite(lifetimeMs) ? requestedAtMs + lifetimeMs : null
  }
}

export function identityOf(access: string): Identity {
  const claims = claimsOf(access)
  const userId = claims.user_id ?? claims.sub ?? null
  return { userId: userId === null ? null : String(userId), claims }
}

/** @returns an empty object if the token cannot be read */
function claimsOf(access: string): Record<string, unknown> {
  try {
    const bytes = atob(`${access.split('.')[1]}`.replaceAll('-', '+').replaceAll('_', '/'))
    const escaped = Array.from(bytes, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, '0')}`)
    return { ...JSON.parse(decodeURIComponent(escaped.join(''))) }
  } catch {
    return {}
  }
}
