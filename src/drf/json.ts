/** JSON with the error messages of Python's parser, which DRF returns to clients. */
import { ParseError } from '../errors.ts'

/**
 * Parses JSON like DRF with Python's parser: a byte order mark and NaN are errors, and the last of duplicate keys
 * counts. The depth of nesting is not limited: neither `JSON.parse` nor the search for the error recurses.
 *
 * @throws {ParseError} `JSON parse error - ` and the message of Python's parser
 */
export function parseJson(text: string): unknown {
  if (text.startsWith('\ufeff')) throw errorAt(text, 'Unexpected UTF-8 BOM (decode using utf-8-sig)', 0)
  try {
    return JSON.parse(text)
  } catch {
    // The engine's message quotes the body, which may contain a password, so the error is not even kept as `cause`.
    return throwFirstError(text)
  }
}

const CLOSING_BRACKETS: Record<string, string> = { '{': '}', '[': ']' }

/**
 * Scans a text that is not JSON up to its first error. `closers` is the stack of brackets that close the open
 * containers.
 */
function throwFirstError(text: string): never {
  const closers: string[] = []
  let at = skipWhitespace(text, 0)
  for (;;) {
    const closer = CLOSING_BRACKETS[text.charAt(at)]
    if (closer === undefined) {
      at = skipScalar(text, at)
    } else {
      closers.push(closer)
      at = skipWhitespace(text, at + 1)
      if (text[at] !== closer) {
        at = closer === '}' ? skipName(text, at) : at
        continue
      }
    }
    at = skipToNextValue(text, at, closers)
  }
}

/** Skips from the end of a value, or the closing bracket of an empty container, to the position of the next value. */
function skipToNextValue(text: string, end: number, closers: string[]): number {
  let at = skipWhitespace(text, end)
  while (closers.length > 0 && text[at] === closers.at(-1)) {
    closers.pop()
    at = skipWhitespace(text, at + 1)
  }
  const closer = closers.at(-1)
  if (closer === undefined) throw errorAt(text, 'Extra data', at)
  if (text[at] !== ',') throw errorAt(text, "Expecting ',' delimiter", at)
  const next = skipWhitespace(text, at + 1)
  if (text[next] === closer) {
    throw errorAt(text, `Illegal trailing comma before end of ${closer === '}' ? 'object' : 'array'}`, at)
  }
  return closer === '}' ? skipName(text, next) : next
}

/** Skips a property name and its colon. */
function skipName(text: string, at: number): number {
  if (text[at] !== '"') throw errorAt(text, 'Expecting property name enclosed in double quotes', at)
  const colon = skipWhitespace(text, skipString(text, at))
  if (text[colon] !== ':') throw errorAt(text, "Expecting ':' delimiter", colon)
  return skipWhitespace(text, colon + 1)
}

function skipScalar(text: string, at: number): number {
  if (text[at] === '"') return skipString(text, at)
  const constant = match(/NaN|-?Infinity/y, text, at)
  if (constant) {
    throw new ParseError(`JSON parse error - Out of range float values are not JSON compliant: '${constant}'`)
  }
  const scalar = match(/true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y, text, at)
  if (!scalar) throw errorAt(text, 'Expecting value', at)
  return at + scalar.length
}

function skipString(text: string, start: number): number {
  let at = start + 1
  for (;;) {
    at += match(/[ !#-[\]-\uffff]*/y, text, at).length
    if (text[at] === '"') return at + 1
    if (at === text.length) throw errorAt(text, 'Unterminated string starting at', start)
    if (text[at] !== '\\') throw errorAt(text, 'Invalid control character at', at)
    at += checkEscape(text, start, at)
  }
}

/** Checks the escape sequence at `at` and returns its length. */
function checkEscape(text: string, start: number, at: number): number {
  if (at + 1 === text.length) throw errorAt(text, 'Unterminated string starting at', start)
  if (text[at + 1] !== 'u') {
    if (!'"\\/bfnrt'.includes(text.charAt(at + 1))) throw errorAt(text, 'Invalid \\escape', at)
    return 2
  }
  if (!match(/[\da-fA-F]{4}/y, text, at + 2)) throw errorAt(text, 'Invalid \\uXXXX escape', at + 1)
  return 6
}

const skipWhitespace = (text: string, at: number) => at + match(/[ \t\n\r]*/y, text, at).length

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0] ?? ''
}

/** Lines, columns and positions count code points, as in Python, not UTF-16 code units. */
function errorAt(text: string, message: string, at: number): ParseError {
  const before = [...text.slice(0, at)]
  const line = before.filter((character) => character === '\n').length + 1
  const column = before.length - before.lastIndexOf('\n')
  return new ParseError(`JSON parse error - ${message}: line ${line} column ${column} (char ${before.length})`)
}
