import t from 'tap'
import { getDecoder } from '../../src/drf/charset.ts'
import { MAX_FORM_FIELDS, parseForm } from '../../src/drf/form.ts'
import { ParseError } from '../../src/errors.ts'

const parse = (body: string) => [...parseForm(Buffer.from(body, 'latin1'), getDecoder(undefined, 'Form'))]

t.test('urlencoded forms are parsed as in Django', async (t) => {
  const readings: [body: string, fields: [string, string][]][] = [
    [
      'a=1&b=2',
      [
        ['a', '1'],
        ['b', '2']
      ]
    ],
    ['a=1&a=2', [['a', '2']]],
    ['a=1=2', [['a', '1=2']]],
    [
      'a&b=',
      [
        ['a', ''],
        ['b', '']
      ]
    ],
    ['&&', []],
    ['a=+%20%2B', [['a', '  +']]],
    ['%61+b=c', [['a b', 'c']]],
    [
      'a=100%&b=%zz&c=%4',
      [
        ['a', '100%'],
        ['b', '%zz'],
        ['c', '%4']
      ]
    ],
    ['a=%C3%A9\xc3\xa9%c3\xa9', [['a', 'ééé']]],
    ['a=1;b=2', [['a', '1;b=2']]],
    ['__proto__=x', [['__proto__', 'x']]]
  ]
  for (const [body, fields] of readings) t.strictSame(parse(body), fields, body)
})

t.test('invalid UTF-8 is rejected, raw or percent-encoded, in names and values', async (t) => {
  for (const body of ['a=%ff', 'a=\xff', '%ff=a', '\xff=a', 'a=%ED%A0%80', 'a=%C3']) {
    t.throws(() => parse(body), { name: 'ParseError', message: /^Form parse error - 'utf-8' codec can't decode/ }, body)
  }
})

t.test('too many fields are rejected, as in Django', async (t) => {
  t.equal(parse(Array.from({ length: MAX_FORM_FIELDS }, (_, n) => `f${n}=`).join('&')).length, MAX_FORM_FIELDS)
  t.throws(() => parse('&'.repeat(MAX_FORM_FIELDS)), new ParseError('Form parse error - Too many fields'))
})
