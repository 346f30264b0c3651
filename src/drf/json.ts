import { ParseError } from '../errors.ts'

/**
 * Parses JSON as DRF does with Python's parser: no byte order mark, no NaN, the last of equal keys wins.
 * Nesting of any depth is fine: `JSON.parse` does not recurse, and nor does what is here.
 *
 * @throws {ParseError} `JSON parse error - ` and what Python's parser says of such a text
 */
export function parseJson(text: string): unknown {
  if (text.startsWith('\ufeff')) throw fault(text, 'Unexpected UTF-8 BOM (decode using utf-8-sig)', 0)
  try {
    return JSON.parse(text)
  } catch {
    // The engine's own message quotes the body, which may hold a password: it goes nowhere, not even into `cause`.
    return refuse(text)
  }
}

const CLOSERS: Record<string, string> = { '{': '}', '[': ']' }

/** Walks through a text that is not JSON up to its first fault. The containers it is in are kept by their closers. */
function refuse(text: string): never {
  const closers: string[] = []
  let at = skipBlanks(text, 0)
  for (;;) {
    const closer = CLOSERS[text.charAt(at)]
    if (closer === undefined) {
      at = readScalar(text, at)
    } else {
      closers.push(closer)
      at = skipBlanks(text, at + 1)
      if (text[at] !== closer) {
        at = closer === '}' ? readName(text, at) : at
        continue
      }
    }
    at = skipToNextValue(text, at, closers)
  }
}

/** From the end of a value, or the closer of an empty container, to where the next value has to be. */
function skipToNextValue(text: string, end: number, closers: string[]): number {
  let at = skipBlanks(text, end)
  while (closers.length > 0 && text[at] === closers.at(-1)) {
    closers.pop()
    at = skipBlanks(text, at + 1)
  }
  const closer = closers.at(-1)
  if (closer === undefined) throw fault(text, 'Extra data', at)
  if (text[at] !== ',') throw fault(text, "Expecting ',' delimiter", at)
  const next = skipBlanks(text, at + 1)
  if (text[next] === closer) {
    throw fault(text, `Illegal trailing comma before end of ${closer === '}' ? 'object' : 'array'}`, at)
  }
  return closer === '}' ? readName(text, next) : next
}

/** Past a name and its colon. */
function readName(text: string, at: number): number {
  if (text[at] !== '"') throw fault(text, 'Expecting property name enclosed in double quotes', at)
  const colon = skipBlanks(text, readString(text, at))
  if (text[colon] !== ':') throw fault(text, "Expecting ':' delimiter", colon)
  return skipBlanks(text, colon + 1)
}

function readScalar(text: string, at: number): number {
  if (text[at] === '"') return readString(text, at)
  const constant = match(/NaN|-?Infinity/y, text, at)
  if (constant)
    throw new ParseError(`JSON parse error - Out of range float values are not JSON compliant: '${constant}'`)
  const scalar = match(/true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y, text, at)
  if (!scalar) throw fault(text, 'Expecting value', at)
  return at + scalar.length
}

function readString(text: string, start: number): number {
  let at = start + 1
  for (;;) {
    at += match(/[ !#-[\]-\uffff]*/y, text, at).length
    if (text[at] === '"') return at + 1
    if (at === text.length) throw fault(text, 'Unterminated string starting at', start)
    if (text[at] !== '\\') throw fault(text, 'Invalid control character at', at)
    at += readEscape(text, start, at)
  }
}

/** The length of the escape sequence at `at`. */
function readEscape(text: string, start: number, at: number): number {
  if (at + 1 === text.length) throw fault(text, 'Unterminated string starting at', start)
  if (text[at + 1] !== 'u') {
    if (!'"\\/bfnrt'.includes(text.charAt(at + 1))) throw fault(text, 'Invalid \\escape', at)
    return 2
  }
  if (!match(/[\da-fA-F]{4}/y, text, at + 2)) throw fault(text, 'Invalid \\uXXXX escape', at + 1)
  return 6
}

const skipBlanks = (text: string, at: number) => at + match(/[ \t\n\r]*/y, text, at).length

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0] ?? ''
}

/** Lines, columns and positions count characters, not UTF-16 units. */
function fault(text: string, message: string, at: number): ParseError {
  const before = [...text.slice(0, at)]
  const line = before.filter((character) => character === '\n').length + 1
  const column = before.length - before.lastIndexOf('\n')
  return new ParseError(`JSON parse error - ${message}: line ${line} column ${column} (char ${before.length})`)
}
