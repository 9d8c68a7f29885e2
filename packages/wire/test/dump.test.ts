import { expect, test } from 'vitest'
import { LengthError, array, bytes, dump, dumpRows, i16, pad, struct, u16, u32, u64 } from '../src/index.ts'

const inner = struct('inner', { status: i16, pad0: pad(2) })
const call = struct('call', {
  size: u32,
  list: array(inner, 2),
  done: u16,
  pad0: pad(2),
  address: u64,
  raw: bytes(16),
  one: inner,
  pad1: pad(4),
})

test('a dump shows offset, bytes, path and value of every field, padding included', () => {
  const data = call.encode({
    ...call.zero(),
    size: 56,
    list: [{ status: 0 }, { status: -22 }],
    address: 0x1234_5678_9abcn,
  })
  data[call.offsets.pad0] = 1
  expect(dump(call, data)).toBe(
    [
      'call, 48 bytes',
      '  0x0000  38 00 00 00                 size            56 (0x38)',
      '  0x0004  00 00                       list[0].status  0',
      '  0x0006  00 00                       list[0].pad0',
      '  0x0008  ea ff                       list[1].status  -22 (-0x16)',
      '  0x000a  00 00                       list[1].pad0',
      '  0x000c  00 00                       done            0',
      '  0x000e  01 00                       pad0            not zero',
      '  0x0010  bc 9a 78 56 34 12 00 00     address         20015998343868 (0x123456789abc)',
      '  0x0018  00 00 00 00 00 … (16)       raw',
      '  0x0028  00 00                       one.status      0',
      '  0x002a  00 00                       one.pad0',
      '  0x002c  00 00 00 00                 pad1',
    ].join('\n'),
  )
})

test('rows cover the struct without gap or overlap', () => {
  const rows = dumpRows(call, new Uint8Array(call.size))
  let at = 0
  for (const row of rows) {
    expect(row.offset).toBe(at)
    at += row.bytes.length
  }
  expect(at).toBe(call.size)
})

test('a dump of other lengths is refused', () => {
  expect(() => dump(call, new Uint8Array(call.size - 1))).toThrow(LengthError)
})
