import { expect, test } from 'vitest'
import {
  BoundsError,
  ConfigError,
  InvariantError,
  IospaceError,
  LayoutError,
  LengthError,
  StateError,
  UnsupportedError,
  ValueError,
  hex,
  hexBytes,
  parseHex,
} from '../src/index.ts'

const all: [IospaceError, string, string][] = [
  [new LayoutError('map', 'gfn', 'not aligned'), 'layout', 'map.gfn: not aligned'],
  [new LengthError('map', undefined, 48, 47), 'length', 'map: length 0x2f where 0x30 is needed'],
  [new ValueError('map', 'pages', 16, -1n, 'does not fit u64'), 'value', 'map.pages at 0x10: -0x1 does not fit u64'],
  [new ValueError('Domid', undefined, undefined, 'x', 'is not an integer'), 'value', 'Domid: "x" is not an integer'],
  [new BoundsError('memory', 4096, 8, 4100), 'bounds', 'memory: 0x8 bytes at 0x1000 leave a range of 0x1004 bytes'],
  [new StateError('clock', 'already started'), 'state', 'clock: already started'],
  [new ConfigError('memory', 3, 'is not a power of two'), 'config', 'memory: 0x3 is not a power of two'],
  [new UnsupportedError('gart', 'has no fault log'), 'unsupported', 'gart: has no fault log'],
  [new InvariantError('I4', 'a frame with references was freed'), 'invariant', 'I4: a frame with references was freed'],
]

test.each(all)('%s', (error, code, message) => {
  expect(error).toBeInstanceOf(IospaceError)
  expect(error).toBeInstanceOf(Error)
  expect(error.code).toBe(code)
  expect(error.message).toBe(message)
  expect(error.name).toBe(error.constructor.name)
})

test('the facts are fields', () => {
  expect(new LengthError('map', 'list', 2, 3)).toMatchObject({ struct: 'map', field: 'list', expected: 2, actual: 3 })
  expect(new ValueError('map', 'gfn', 8, 5, 'no')).toMatchObject({ struct: 'map', field: 'gfn', offset: 8, value: 5 })
  expect(new BoundsError('memory', 1, 2, 3)).toMatchObject({ what: 'memory', offset: 1, length: 2, limit: 3 })
})

test('hex shows integers, and anything else as it is', () => {
  expect([hex(0), hex(31, 4), hex(-22), hex(2n ** 64n - 1n), hex(-5n), hex(1.5), hex(undefined), hex('a')]).toEqual([
    '0x0',
    '0x001f',
    '-0x16',
    '0xffffffffffffffff',
    '-0x5',
    '1.5',
    'undefined',
    '"a"',
  ])
})

test('bytes as text and back', () => {
  expect(hexBytes(new Uint8Array([0, 255, 16]))).toBe('00ff10')
  expect(hexBytes(new Uint8Array([0, 255, 16]), ' ')).toBe('00 ff 10')
  expect(parseHex('00 fF\n10')).toEqual(new Uint8Array([0, 255, 16]))
  expect(parseHex('')).toEqual(new Uint8Array(0))
  for (const bad of ['0', '0x00', '0g']) expect(parseHex(bad)).toBeUndefined()
})
