import fc from 'fast-check'
import t from 'tap'
import { parseJson } from '../../src/drf/json.ts'
import { ParseError } from '../../src/errors.ts'

const complaintAbout = (text: string) => {
  try {
    parseJson(text)
  } catch (error) {
    return error as Error
  }
  return new Error('nothing was thrown')
}

t.test("syntax errors are reported with Python's message and position", async (t) => {
  const faults: [text: string, complaint: string][] = [
    ['', 'Expecting value: line 1 column 1 (char 0)'],
    [' ', 'Expecting value: line 1 column 2 (char 1)'],
    ['nul', 'Expecting value: line 1 column 1 (char 0)'],
    ['-', 'Expecting value: line 1 column 1 (char 0)'],
    ['{"a":}', 'Expecting value: line 1 column 6 (char 5)'],
    ['[1,,2]', 'Expecting value: line 1 column 4 (char 3)'],
    ['[', 'Expecting value: line 1 column 2 (char 1)'],
    ['{bad', 'Expecting property name enclosed in double quotes: line 1 column 2 (char 1)'],
    ['{"a":1,', 'Expecting property name enclosed in double quotes: line 1 column 8 (char 7)'],
    ["{'a':1}", 'Expecting property name enclosed in double quotes: line 1 column 2 (char 1)'],
    ['{"a" 1}', "Expecting ':' delimiter: line 1 column 6 (char 5)"],
    ['[1 2]', "Expecting ',' delimiter: line 1 column 4 (char 3)"],
    ['{"a":1 "b"', "Expecting ',' delimiter: line 1 column 8 (char 7)"],
    ['{"a":{},"b":[[]}', "Expecting ',' delimiter: line 1 column 16 (char 15)"],
    ['[1,]', 'Illegal trailing comma before end of array: line 1 column 3 (char 2)'],
    ['{"a":1,}', 'Illegal trailing comma before end of object: line 1 column 7 (char 6)'],
    ['{} x', 'Extra data: line 1 column 4 (char 3)'],
    ['01', 'Extra data: line 1 column 2 (char 1)'],
    ['1.', 'Extra data: line 1 column 2 (char 1)'],
    ['{"a":"b', 'Unterminated string starting at: line 1 column 6 (char 5)'],
    ['"\\', 'Unterminated string starting at: line 1 column 1 (char 0)'],
    ['"\\u1234', 'Unterminated string starting at: line 1 column 1 (char 0)'],
    ['"\t"', 'Invalid control character at: line 1 column 2 (char 1)'],
    ['"\\x"', 'Invalid \\escape: line 1 column 2 (char 1)'],
    ['"\\u12"', 'Invalid \\uXXXX escape: line 1 column 3 (char 2)'],
    ['\n{"a":\n 1,\n}', 'Illegal trailing comma before end of object: line 3 column 3 (char 9)'],
    ['{"😀" "x"}', "Expecting ':' delimiter: line 1 column 6 (char 5)"],
    ['\ufeff{}', 'Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)'],
    ['NaN', "Out of range float values are not JSON compliant: 'NaN'"],
    ['{"a":["NaN",-Infinity', "Out of range float values are not JSON compliant: '-Infinity'"],
    ['{"a":Infinity}', "Out of range float values are not JSON compliant: 'Infinity'"]
  ]
  for (const [text, complaint] of faults) {
    const error = complaintAbout(text)
    t.type(error, ParseError, text)
    t.equal(error.message, `JSON parse error - ${complaint}`, text)
  }
})

t.test('errors contain no part of the body, which may hold a password', async (t) => {
  const error = complaintAbout('{"password": "s3cret" oops}')
  t.notMatch(error.message, /s3cret|oops/)
  t.equal(error.cause, undefined)
})

t.test('the last of duplicate names counts', async (t) => {
  t.strictSame(parseJson('{"a":1,"a":2}'), { a: 2 })
})

t.test('__proto__ and constructor are ordinary names and do not change the prototype', async (t) => {
  const value = parseJson('{"__proto__":{"polluted":true},"constructor":1}') as object
  t.strictSame(Object.keys(value), ['__proto__', 'constructor'])
  t.equal(Object.getPrototypeOf(value), Object.prototype)
  t.notOk('polluted' in {})
})

t.test('deeply nested bodies do not overflow the stack', async (t) => {
  const half = 32 * 1024
  t.ok(Array.isArray(parseJson('['.repeat(half) + ']'.repeat(half))))
  const deep = ['['.repeat(2 * half), `${'[['.repeat(half)}]`, '{"a":'.repeat(half / 3), '[{"a":'.repeat(half / 3)]
  for (const text of deep) t.match(complaintAbout(text).message, /^JSON parse error - Expecting /)
})

t.test('any text parses to the same value as with JSON.parse, or is rejected with a message', async () => {
  const pieces = fc.constantFrom(
    ...'{}[],:"\\',
    '"a"',
    '"a":',
    '1',
    '-',
    '.5',
    'e',
    'true',
    'nul',
    '\n',
    '\t',
    'é',
    '😀',
    '\\u00'
  )
  const anyText = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join(''))
  )
  fc.assert(
    fc.property(anyText, (text) => {
      let expected: unknown
      try {
        expected = JSON.stringify(JSON.parse(text))
      } catch {
        return complaintAbout(text).message.startsWith('JSON parse error - ')
      }
      return JSON.stringify(parseJson(text)) === expected
    }),
    { numRuns: 2000 }
  )
})
