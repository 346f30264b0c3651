import t from 'tap'
import { parseMediaType } from '../../src/drf/media-type.ts'

t.test('type and parameter names are converted to lower case, and values only trimmed and unquoted', async (t) => {
  const readings: [text: string, type: string, parameters: [string, string][]][] = [
    ['', '', []],
    [' Application/JSON ', 'application/json', []],
    ['a/b;', 'a/b', []],
    [
      'a/b ; Charset = UTF-8 ; q=0.5',
      'a/b',
      [
        ['charset', 'UTF-8'],
        ['q', '0.5']
      ]
    ],
    [
      'a/b;x="1;2, \\"3\\\\";y=4',
      'a/b',
      [
        ['x', '1;2, "3\\'],
        ['y', '4']
      ]
    ],
    ['a/b;x="unclosed', 'a/b', [['x', '"unclosed']]],
    ['a/b;x', 'a/b', []],
    ['a/b;x=', 'a/b', [['x', '']]],
    ['a/b;x=1;X=2', 'a/b', [['x', '2']]],
    ['a/b;__proto__=1', 'a/b', [['__proto__', '1']]],
    [';x=1', '', [['x', '1']]]
  ]
  for (const [text, type, parameters] of readings) {
    t.strictSame(parseMediaType(text), { type, parameters: new Map(parameters) }, text)
  }
})
