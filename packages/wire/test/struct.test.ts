import { readFileSync, readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  LayoutError,
  LengthError,
  ValueError,
  array,
  bytes,
  i16,
  i32,
  i64,
  i8,
  isStruct,
  pad,
  parseHex,
  struct,
  u16,
  u32,
  u64,
  u8,
  type Field,
  type Fields,
} from '../src/index.ts'
import { structCodec } from '../src/schema.ts'
import { anyStruct, valueOf } from './arbitrary.ts'
import { fc } from './property.ts'

const point = struct('point', { x: i16, y: i16 })
const sample = struct('sample', {
  tag: u8,
  level: i8,
  port: u16,
  depth: i32,
  address: u64,
  delta: i64,
  corners: array(point, 2),
  origin: point,
  name: bytes(3),
  pad0: pad(1),
})

const value = {
  tag: 0xab,
  level: -2,
  port: 0x1234,
  depth: -3,
  address: 0xfedc_ba98_7654_3210n,
  delta: -4n,
  corners: [
    { x: 1, y: -1 },
    { x: 2, y: -2 },
  ],
  origin: { x: 3, y: -3 },
  name: new Uint8Array([7, 8, 9]),
}
const golden = 'ab fe 3412 fdffffff 1032547698badcfe fcffffffffffffff 0100ffff 0200feff 0300fdff 070809 00'

test('value ↔ hex', () => {
  expect(sample.encode(value)).toEqual(parseHex(golden))
  expect(sample.decode(parseHex(golden)!)).toEqual(value)
})

test('tables: byte offsets, words and shifts, nested paths dotted', () => {
  expect(sample.size).toBe(40)
  expect(sample.align).toBe(8)
  expect(sample.offsets).toEqual({
    tag: 0,
    level: 1,
    port: 2,
    depth: 4,
    address: 8,
    delta: 16,
    corners: 24,
    origin: 32,
    'origin.x': 32,
    'origin.y': 34,
    name: 36,
    pad0: 39,
  })
  expect(sample.words).toMatchObject({
    tag: 0,
    port: 0,
    depth: 1,
    address: 2,
    delta: 4,
    corners: 6,
    'origin.y': 8,
    name: 9,
    pad0: 9,
  })
  expect(sample.shifts).toMatchObject({ tag: 0, level: 8, port: 16, depth: 0, 'origin.y': 16, pad0: 24 })
})

test('words and shifts reach what the codec reads, on little-endian words', () => {
  const words = new Uint32Array(sample.encode(value).buffer)
  expect((words[sample.words.port]! >>> sample.shifts.port) & 0xffff).toBe(value.port)
  expect(BigInt(words[sample.words.address]!) | (BigInt(words[sample.words.address + 1]!) << 32n)).toBe(value.address)
})

test('a struct and its tables are frozen', () => {
  for (const part of [sample, sample.offsets, sample.words, sample.shifts, sample.layout, sample.layout.fields])
    expect(Object.isFrozen(part)).toBe(true)
})

test('isStruct knows what struct made', () => {
  expect(isStruct(sample)).toBe(true)
  expect(isStruct({ ...sample })).toBe(false)
  expect(isStruct(null)).toBe(false)
})

test('zero is a value that encodes to zeros, new each time', () => {
  expect(sample.encode(sample.zero())).toEqual(new Uint8Array(sample.size))
  expect(sample.zero()).not.toBe(sample.zero())
})

test('decode takes exactly the size: shorter and longer are refused', () => {
  for (const length of [0, 39, 41]) {
    expect(() => sample.decode(new Uint8Array(length))).toThrow(LengthError)
  }
  expect(() => sample.decode(new DataView(new ArrayBuffer(40)) as unknown as Uint8Array)).toThrow(ValueError)
})

test('decode honours a view’s offset in its buffer', () => {
  const padded = new Uint8Array([0xff, 0xff, 0xff, ...parseHex(golden)!, 0xff])
  expect(sample.decode(padded.subarray(3, 43))).toEqual(value)
})

describe('encode refuses what does not fit, and names the place', () => {
  const bad: [string, object, string, number | undefined][] = [
    ['too big for u8', { tag: 0x100 }, 'tag', 0],
    ['negative in u16', { port: -1 }, 'port', 2],
    ['too small for i8', { level: -129 }, 'level', 1],
    ['fraction', { depth: 1.5 }, 'depth', 4],
    ['NaN', { depth: Number.NaN }, 'depth', 4],
    ['missing', { depth: undefined }, 'depth', 4],
    ['too big for u64', { address: 2n ** 64n }, 'address', 8],
    ['negative u64', { address: -1n }, 'address', 8],
    ['number for u64', { address: 1 }, 'address', 8],
    ['bigint for i32', { depth: 1n }, 'depth', 4],
    ['too big for i64', { delta: 2n ** 63n }, 'delta', 16],
    [
      'inside an array',
      {
        corners: [
          { x: 0, y: 0 },
          { x: 0, y: 0x8000 },
        ],
      },
      'corners[1].y',
      30,
    ],
    ['inside a nested struct', { origin: { x: '3', y: 0 } }, 'origin.x', 32],
    ['no nested struct', { origin: 5 }, 'origin', 32],
    ['no array', { corners: 'xx' }, 'corners', 24],
    ['no bytes', { name: [1, 2, 3] }, 'name', 36],
  ]
  test.each(bad)('%s', (_, change, field, offset) => {
    expect(() => sample.encode({ ...value, ...change } as never)).toThrow(
      expect.objectContaining({ name: 'ValueError', code: 'value', struct: 'sample', field, offset }),
    )
  })

  test('wrong lengths', () => {
    expect(() => sample.encode({ ...value, name: new Uint8Array(2) })).toThrow(
      expect.objectContaining({ code: 'length', field: 'name', expected: 3, actual: 2 }),
    )
    expect(() => sample.encode({ ...value, corners: [] })).toThrow(
      expect.objectContaining({ code: 'length', field: 'corners', expected: 2, actual: 0 }),
    )
    expect(() => sample.encode(null as never)).toThrow(ValueError)
  })

  test('check throws the same and makes nothing', () => {
    expect(() => sample.check({ ...value, tag: 256 })).toThrow(ValueError)
    expect(sample.check(value)).toBeUndefined()
  })
})

test('decode undoes encode, for any struct and value', () => {
  fc.assert(
    fc.property(
      anyStruct.chain((made) => fc.tuple(fc.constant(made), valueOf(made.layout))),
      ([made, any]) => {
        expect(made.decode(made.encode(any))).toEqual(any)
      },
    ),
  )
})

describe('layouts that a C compiler would not make are refused', () => {
  const bad: [string, Fields][] = [
    ['a u32 at offset 2', { a: u16, b: u32 }],
    ['a u64 at offset 4', { a: u32, b: u64 }],
    ['a nested struct off its alignment', { a: u8, b: point, pad0: pad(1) }],
    ['an array off its element’s alignment', { a: u16, b: array(u32, 1) }],
    ['a size that is not a multiple of the alignment', { a: u32, b: u8 }],
    ['no fields', {}],
    ['the name parent', { parent: u8 }],
    ['the name _length', { _length: u8 }],
    ['the name constructor', { constructor: u8 } as Fields],
    ['an integer name', { 0: u8 } as unknown as Fields],
    ['a name that is no identifier', { 'a-b': u8 }],
    ['an array of padding', { a: array(pad(2), 2) }],
    ['a codec of another maker', { a: { codec: { size: () => 4 } } }],
    ['a nested restructure struct of another maker', { a: { codec: structCodec({}) } }],
  ]
  test.each(bad)('%s', (_, fields) => {
    expect(() => struct('bad', fields)).toThrow(LayoutError)
  })

  test('the name __proto__', () => {
    expect(() => struct('bad', JSON.parse('{"__proto__": 1}') as Fields)).toThrow(LayoutError)
  })

  test('a struct name that is no identifier', () => {
    expect(() => struct('no good', { a: u8 })).toThrow(LayoutError)
  })

  test.each([0, -1, 1.5, Number.NaN])('a length of %s', (n) => {
    expect(() => pad(n)).toThrow(LayoutError)
    expect(() => bytes(n)).toThrow(LayoutError)
    expect(() => array(u8, n)).toThrow(LayoutError)
  })

  test('the message says which padding is missing', () => {
    expect(() => struct('gap', { a: u16, b: u64 })).toThrow(
      'gap.b: offset 2 is not aligned to 8; insert pad(6) before it',
    )
    expect(() => struct('tail', { a: u64, b: u16 })).toThrow(
      'tail: size 10 is not a multiple of its alignment 8; append pad(6)',
    )
  })
})

test('pack limits alignment, as 32-bit x86 does', () => {
  const packed = struct('packed', { a: u32, b: u64 }, { pack: 4 })
  expect([packed.size, packed.align, packed.offsets.b, packed.words.b]).toEqual([12, 4, 4, 1])
  expect(packed.encode({ a: 1, b: 2n })).toEqual(parseHex('01000000 0200000000000000'))
  expect(struct('outer', { a: u32, b: packed }).size).toBe(16)
})

test('tables of a struct with many fields stay plain records: every value is there', () => {
  const fields: Record<string, Field<number>> = {}
  for (let i = 0; i < 200; i++) fields[`f${i}`] = u32
  const wide = struct('wide', fields)
  for (let i = 0; i < 200; i++) expect(wide.words[`f${i}`]).toBe(i)
})

test('restructure stays behind one file', () => {
  const folder = new URL('../src/', import.meta.url)
  const importing = readdirSync(folder).filter((file) =>
    /from 'restructure'/.test(readFileSync(new URL(file, folder), 'utf8')),
  )
  expect(importing).toEqual(['schema.ts'])
})
