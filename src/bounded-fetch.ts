export interface FetchLimits {
  /** For the whole exchange, in milliseconds. */
  timeoutMs: number
  /** Of the decoded body. */
  maxBytes: number
}

/**
 * Fetches a document with a limit on time and size. Redirects are errors, so that the server cannot direct the request to
 * another host, such as one of the internal network (SSRF).
 *
 * @param headers of the request
 * @returns the body of a 200 response
 * @throws {Error} for another status, a redirect, a network error, or an exceeded limit. No message of its own contains the
 *   URL, which may be confidential
 */
export async function boundedFetch(
  url: string,
  headers: Record<string, string>,
  { timeoutMs, maxBytes }: FetchLimits
): Promise<Buffer> {
  const response = await fetch(url, { headers, redirect: 'error', signal: AbortSignal.timeout(timeoutMs) })
  if (response.status !== 200) throw new Error(`the server responded with status ${response.status}`)
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    if (size > maxBytes) throw new Error(`the response has more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
