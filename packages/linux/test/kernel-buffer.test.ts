import fc from 'fast-check'
import { struct, u16, u32, u64 } from '@iospace/wire'
import { expect, test } from 'vitest'
import { bootBare } from './support/bare.ts'

const { kernel } = bootBare({ scattered: true })

test('bytes written anywhere are read back, and land in the frames of their pages (a buffer is linear, its frames are scattered)', () => {
  const buffer = kernel.memory.allocate(5 * 4096)!
  fc.assert(
    fc.property(fc.nat({ max: 5 * 4096 - 1 }), fc.uint8Array({ minLength: 1, maxLength: 9000 }), (at, bytes) => {
      const length = Math.min(bytes.length, buffer.length - at)
      const written = bytes.subarray(0, length)
      buffer.write(at, written)
      expect(buffer.read(at, new Uint8Array(length))).toEqual(written)
      const { bytes: flat, frameOffset } = kernel.platform.memory
      const last = at + length - 1
      expect(flat[frameOffset(buffer.pfn + (last >> 12)) + (last & 4095)]).toBe(written.at(-1))
    }),
  )
  kernel.memory.free(buffer)
})

test('a struct is read and written across a page edge like anywhere else', () => {
  const S = struct('s', { a: u64, b: u32, c: u16, d: u16 })
  const buffer = kernel.memory.allocate(8192)!
  for (const at of [0, 4096 - 16, 4096 - 8, 4096 - 4, 4096]) {
    buffer.writeStruct(S, { a: 0x1122334455667788n, b: 9, c: 10, d: 11 }, at)
    expect(buffer.readStruct(S, at)).toEqual({ a: 0x1122334455667788n, b: 9, c: 10, d: 11 })
  }
  kernel.memory.free(buffer)
})

test('a slice is the same memory, and nothing reaches beyond a buffer', () => {
  const buffer = kernel.memory.allocate(8192)!
  const slice = buffer.slice(4090, 10)
  slice.fill(0xaa)
  expect([buffer.read8(4089), buffer.read8(4090), buffer.read8(4099), buffer.read8(4100)]).toEqual([0, 0xaa, 0xaa, 0])
  expect(slice.pages).toBe(2)
  expect(slice.address()).toBe(buffer.address(4090))
  expect(() => slice.read32(7)).toThrow(/leave a range/)
  expect(() => buffer.slice(8000, 200)).toThrow(/leave a range/)
  kernel.memory.free(buffer)
})

test('copies between buffers split at the page edges of both', () => {
  const a = kernel.memory.allocate(3 * 4096)!
  const b = kernel.memory.allocate(3 * 4096)!
  const bytes = Uint8Array.from({ length: 9000 }, (_, i) => i * 7)
  a.write(100, bytes)
  b.copyFrom(3000, a, 100, 9000)
  expect(b.read(3000, new Uint8Array(9000))).toEqual(bytes)
  const views = b.views()
  expect(views.length).toBe(3)
  expect(views[1]![0]).toBe(b.read8(4096))
  kernel.memory.free(a)
  kernel.memory.free(b)
})

test('allocated memory is zeroed, whatever was in it before', () => {
  const first = kernel.memory.allocate(4096)!
  first.fill(0xff)
  kernel.memory.free(first)
  const again = kernel.memory.allocate(4096)!
  expect(again.pfn).toBe(first.pfn)
  expect(again.read(0, new Uint8Array(4096)).every((byte) => byte === 0)).toBe(true)
  expect(() => kernel.memory.free(again.slice(1))).toThrow(/is a slice/)
  kernel.memory.free(again)
})
