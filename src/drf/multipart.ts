import { Busboy } from '@fastify/busboy'
import { ParseError } from '../errors.ts'
import type { Decode } from './charset.ts'
import { FILE, Form, MAX_FORM_FIELDS } from './form.ts'

/** What Django takes for a boundary. */
const BOUNDARY = /^[ -~]{0,200}[!-~]$/

interface Part {
  name: string
  isFile: boolean
  chunks: Buffer[]
}

/**
 * Parses `multipart/form-data` of which the whole body is there. Parts without a name are left out.
 *
 * @throws {ParseError} `Multipart form parse error - …` for a boundary that cannot be, a body that breaks off, or more
 *   than `MAX_FORM_FIELDS` parts; and what `decode` throws of bytes that are no text
 */
export async function parseMultipart(body: Buffer, boundary: string | undefined, decode: Decode): Promise<Form> {
  if (boundary === undefined || !BOUNDARY.test(boundary)) {
    throw broken(`Invalid boundary in multipart: ${boundary ?? 'None'}`)
  }
  const form = new Form()
  for (const { name, isFile, chunks } of await readParts(body, boundary)) {
    form.append(name, isFile ? FILE : decode(Buffer.concat(chunks)))
  }
  return form
}

/**
 * Takes every part for a file, since that alone gives the bytes as they are: busboy decodes a field by the charset
 * that its part claims, and puts U+FFFD for what does not fit.
 */
function readParts(body: Buffer, boundary: string): Promise<Part[]> {
  return new Promise((resolve, reject) => {
    const parts: Part[] = []
    const refuse = (error: Error) => reject(broken(error.message))
    const busboy = new Busboy({
      headers: { 'content-type': `multipart/form-data; boundary="${boundary.replace(/["\\]/g, '\\$&')}"` },
      isPartAFile: () => true,
      // Room for all of it: when busboy waits for a part to be read, some broken bodies keep it waiting for ever.
      highWaterMark: body.length + 1,
      fileHwm: body.length + 1,
      limits: { parts: MAX_FORM_FIELDS, headerPairs: 16, headerSize: 4096 }
    })
    busboy.on('file', (name, stream, filename) => {
      const chunks: Buffer[] = []
      if (name) parts.push({ name, isFile: Boolean(filename), chunks })
      stream.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', refuse)
    })
    busboy.on('partsLimit', () => reject(broken('Too many parts')))
    busboy.on('error', (error) => refuse(error as Error))
    busboy.on('finish', () => resolve(parts))
    busboy.end(body)
  })
}

const broken = (message: string) => new ParseError(`Multipart form parse error - ${message}`)
