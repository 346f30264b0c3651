import t from 'tap'
import { negotiate } from '../../src/drf/negotiation.ts'
import { NotAcceptable, NotFound } from '../../src/errors.ts'

const ask = (accept: string | undefined, url = '/') =>
  negotiate({ url, headers: accept === undefined ? {} : { accept } })

t.test('JSON, HTML and ranges that include them are accepted with any quality value', async (t) => {
  const headers = [
    undefined,
    '*/*',
    'application/json',
    'Application/JSON',
    'application/*',
    '*/json',
    'text/html',
    'text/*',
    'application/xml, */*;q=0',
    'application/json;q=0',
    'application/json; a=b',
    ', ,application/json,',
    'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
  ]
  for (const accept of headers) t.equal(ask(accept), 0, String(accept))
})

t.test('Accept headers without JSON or HTML are rejected (406)', async (t) => {
  const headers = [
    '',
    ',',
    '*',
    '/',
    'json',
    'application/xml',
    'application/json/x',
    'text/plain, image/*',
    'application',
    '\xe9'
  ]
  for (const accept of headers) t.throws(() => ask(accept), new NotAcceptable(), accept)
})

t.test('the indent parameter is parsed as in Python and limited to 0 to 8', async (t) => {
  const indents: [entry: string, indent: number][] = [
    ['application/json; indent=4', 4],
    ['application/json;INDENT="3"', 3],
    ['application/json;indent= +2 ', 2],
    ['application/json;indent=1_0', 8],
    ['application/json;indent=99', 8],
    ['application/json;indent=0', 0],
    ['application/json;indent=-3', 0],
    ['application/json;indent=_1', 0],
    ['application/json;indent=1.5', 0],
    ['application/json;indent=a', 0],
    ['application/json;indent', 0],
    ['*/*;indent=3', 3],
    ['application/*; q=0.1; indent=3', 3],
    ['text/html;indent=4', 0]
  ]
  for (const [entry, indent] of indents) t.equal(ask(entry), indent, entry)
})

t.test('the most specific entry is chosen, then JSON before HTML, then the first', async (t) => {
  const indents: [accept: string, indent: number][] = [
    ['*/*;indent=1, application/*;indent=2, application/json;q=1', 0],
    ['*/*;indent=1, application/*;indent=2', 2],
    ['application/json, application/json;indent=2', 2],
    ['application/json;q=0.1;indent=3, application/json;indent=2', 3],
    ['text/html;a=b, application/json;indent=2', 2],
    ['text/html, */*;indent=2', 0],
    ['text/html, application/json;indent=2', 2]
  ]
  for (const [accept, indent] of indents) t.equal(ask(accept), indent, accept)
})

t.test('only the first 64 entries and 8 KiB of an Accept header count, and no entry over 256 characters', async (t) => {
  const filler = (count: number) => Array(count).fill('a/b').join()
  t.equal(ask(`${filler(63)},application/json`), 0)
  t.throws(() => ask(`${filler(64)},application/json`), NotAcceptable)
  t.equal(ask(`${'x'.repeat(257)},application/json`), 0)
  t.equal(ask(`application/json;${'x'.repeat(256 - 17)}`), 0)
  t.throws(() => ask(`application/json;${'x'.repeat(257 - 17)}`), NotAcceptable)
  t.equal(ask(`application/json,${'x'.repeat(9000)}`), 0)
  t.throws(() => ask(`${'x'.repeat(8180)},application/json`), NotAcceptable, 'the limit is within an entry')
  t.throws(() => ask('x'.repeat(9000)), NotAcceptable, 'no comma before the limit')
})

t.test('?format=json accepts only JSON, other formats return 404, and the last parameter counts', async (t) => {
  const indents: [query: string, accept: string | undefined, indent: number][] = [
    ['?format=json', undefined, 0],
    ['?format=json', 'application/json;indent=2', 2],
    ['?format=', undefined, 0],
    ['?format', undefined, 0],
    ['?format=xml&format=json', undefined, 0],
    ['?format=xml&format=', 'text/html', 0],
    ['?format[]=xml', undefined, 0],
    ['?a=1;format=xml', undefined, 0],
    ['?%&&=&==&__proto__=1', undefined, 0],
    ['?', undefined, 0]
  ]
  for (const [query, accept, indent] of indents) t.equal(ask(accept, `/${query}`), indent, query)
  t.throws(() => ask('text/html', '/?format=json'), new NotAcceptable())
  for (const format of ['xml', 'api', 'JSON', 'json%00', 'json+', '%ff', 'json&%66ormat=xml', 'json&format=%E0%A4%A']) {
    t.throws(() => ask('a/b', `/?format=${format}`), new NotFound(), format)
  }
})
