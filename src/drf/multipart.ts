import { Busboy } from '@fastify/busboy'
import { ParseError } from '../errors.ts'
import type { Decode } from './charset.ts'
import { FILE, Form, MAX_FORM_FIELDS } from './form.ts'

/** The boundaries that Django accepts: 1 to 201 printable ASCII characters, of which the last is not a space. */
const BOUNDARY = /^[ -~]{0,200}[!-~]$/

interface Part {
  name: string
  isFile: boolean
  chunks: Buffer[]
}

/**
 * Parses a complete `multipart/form-data` body. Parts without a name are ignored.
 *
 * @throws {ParseError} `Multipart form parse error - …` for an invalid boundary, a malformed or truncated body, or more
 *   than `MAX_FORM_FIELDS` parts; `decode` throws it for malformed bytes
 */
export async function parseMultipart(body: Buffer, boundary: string | undefined, decode: Decode): Promise<Form> {
  if (boundary === undefined || !BOUNDARY.test(boundary)) {
    throw parseError(`Invalid boundary in multipart: ${boundary ?? 'None'}`)
  }
  const form = new Form()
  for (const { name, isFile, chunks } of await readParts(body, boundary)) {
    form.append(name, isFile ? FILE : decode(Buffer.concat(chunks)))
  }
  return form
}

/**
 * Reads every part as a file, because only then busboy returns the bytes unchanged: it decodes fields by the charset
 * that the part declares, with U+FFFD in place of malformed bytes.
 */
function readParts(body: Buffer, boundary: string): Promise<Part[]> {
  return new Promise((resolve, reject) => {
    const parts: Part[] = []
    const fail = (error: Error) => reject(parseError(error.message))
    const busboy = new Busboy({
      headers: { 'content-type': `multipart/form-data; boundary="${boundary.replace(/["\\]/g, '\\$&')}"` },
      isPartAFile: () => true,
      // Buffers large enough for the whole body: with backpressure, busboy never finishes some malformed bodies.
      highWaterMark: body.length + 1,
      fileHwm: body.length + 1,
      limits: { parts: MAX_FORM_FIELDS, headerPairs: 16, headerSize: 4096 }
    })
    busboy.on('file', (name, stream, filename) => {
      const chunks: Buffer[] = []
      if (name) parts.push({ name, isFile: Boolean(filename), chunks })
      stream.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', fail)
    })
    busboy.on('partsLimit', () => reject(parseError('Too many parts')))
    busboy.on('error', (error) => fail(error as Error))
    busboy.on('finish', () => resolve(parts))
    busboy.end(body)
  })
}

const parseError = (message: string) => new ParseError(`Multipart form parse error - ${message}`)
