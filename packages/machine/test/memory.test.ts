import { ConfigError } from '@iospace/wire'
import { expect, test } from 'vitest'
import { HIGH_RAM_FRAME, MachineMemory, MAX_LOW_FRAMES, PAGE_SIZE } from '../src/index.ts'
import { fc, runs } from './property.ts'

const memory = () => new MachineMemory({ lowFrames: 16, highFrames: 8, boardBytes: 65536 })

test('RAM lies below the hole and from 4 GiB up: frames between have no bytes', () => {
  const ram = memory()
  expect(ram.frameOffset(0)).toBe(0)
  expect(ram.frameOffset(15)).toBe(15 * PAGE_SIZE)
  expect(ram.frameOffset(16)).toBe(-1)
  expect(ram.frameOffset(HIGH_RAM_FRAME - 1)).toBe(-1)
  expect(ram.frameOffset(HIGH_RAM_FRAME)).toBe(16 * PAGE_SIZE)
  expect(ram.frameOffset(HIGH_RAM_FRAME + 7)).toBe(23 * PAGE_SIZE)
  expect(ram.frameOffset(HIGH_RAM_FRAME + 8)).toBe(-1)
  expect(ram.frameOffset(-1)).toBe(-1)
})

test('frameIndex is the inverse of frameAt on RAM, −1 elsewhere', () => {
  const ram = memory()
  expect(ram.frames).toBe(24)
  const frames = Array.from({ length: ram.frames }, (_, i) => ram.frameAt(i))
  expect(frames.map((mfn) => ram.frameIndex(mfn))).toEqual(frames.map((_, i) => i))
  expect(new Set(frames).size).toBe(24)
  expect([16, HIGH_RAM_FRAME - 1, HIGH_RAM_FRAME + 8].map((mfn) => ram.frameIndex(mfn))).toEqual([-1, -1, -1])
})

test('offset takes physical addresses as two halves of any sign and never aliases one above 2^44', () => {
  const ram = memory()
  expect(ram.offset(0, 0x1234)).toBe(0x1234)
  expect(ram.offset(0, 0x10000)).toBe(-1)
  expect(ram.offset(1, 0x7fff)).toBe(16 * PAGE_SIZE + 0x7fff)
  expect(ram.offset(1, 0x8000)).toBe(-1)
  expect(ram.offset(0, -4096)).toBe(-1)
  expect(ram.offset(0x1000, 0)).toBe(-1)
  expect(ram.offset(-1, 0)).toBe(-1)
  expect(ram.offset(0x100000, 0x1000)).toBe(-1)
})

test('copy and fill do what a byte array does, overlapping ranges included', () => {
  const range = fc.tuple(fc.nat(9000), fc.nat(9000), fc.nat(5000))
  fc.assert(
    fc.property(range, fc.nat(255), fc.infiniteStream(fc.nat(255)), ([to, from, length], value, noise) => {
      const ram = memory()
      for (let i = 0; i < 14000; i += 7) ram.bytes[i] = noise.next().value
      const expected = ram.bytes.slice(0, 16384)
      ram.copy(to, from, length)
      expected.copyWithin(to, from, from + length)
      ram.fill(to + 1, value, length)
      expected.fill(value, to + 1, to + 1 + length)
      expect(Buffer.compare(ram.bytes.subarray(0, 16384), expected)).toBe(0)
    }),
    runs(40),
  )
})

test('move leaves exactly the bytes that were there, whatever length and alignment, not-a-number patterns included', () => {
  const bytes = fc.oneof(fc.nat(255), fc.constantFrom(0xff, 0xf0, 0x7f, 0xf4))
  const length = fc.oneof(
    fc.nat(300),
    fc.nat(40).map((words) => words * 8),
    fc.constant(64),
  )
  const place = fc.oneof(
    fc.nat(500),
    fc.nat(60).map((words) => words * 8),
  )
  const ram = memory()
  fc.assert(
    fc.property(place, place, length, fc.array(bytes, { minLength: 8, maxLength: 24 }), (from, to, size, noise) => {
      for (let i = 0; i < 4096; i++) ram.bytes[i] = noise[i % noise.length]! ^ (i % 11 === 0 ? i : 0)
      const expected = ram.bytes.slice(0, 4096)
      expected.copyWithin(2048 + to, from, from + size)
      ram.move(2048 + to, from, size)
      expect(Buffer.compare(ram.bytes.subarray(0, 4096), expected)).toBe(0)
    }),
    runs(500),
  )
})

test('offsets above 2 GiB are the same place as numbers and as 32-bit patterns', () => {
  const ram = new MachineMemory({ lowFrames: 0x81000, highFrames: 0, boardBytes: 0 })
  const at = 0x8000_0000
  expect(ram.offset(0, at | 0)).toBe(at)
  ram.bytes.fill(0xa5, at, at + 64)
  for (const [to, length] of [
    [at + 4096, 64],
    [at + 8192, 60],
    [at + 12288, 33],
    [at + 16384, 4096],
  ] as const) {
    ram.move(to | 0, at | 0, length)
    expect(ram.bytes[to]).toBe(0xa5)
    expect(ram.bytes[to + Math.min(length, 64) - 1]).toBe(0xa5)
  }
  ram.fill((at + 100) | 0, 0x5a, 4)
  expect(ram.view.getUint32(at + 100, true)).toBe(0x5a5a_5a5a)
})

test('words, doubles, view and bytes are one memory', () => {
  const ram = memory()
  ram.words[4] = 0x01020304
  expect([...ram.bytes.subarray(16, 20)]).toEqual([4, 3, 2, 1])
  ram.doubles[4] = 1.5
  expect(ram.view.getFloat64(32, true)).toBe(1.5)
})

test('board memory is page aligned, outside RAM, and ends where it was said to end', () => {
  const ram = memory()
  const first = ram.boardMemory(1)
  const second = ram.boardMemory(5000)
  expect(first).toBe(24 * PAGE_SIZE)
  expect(second).toBe(first + PAGE_SIZE)
  expect(ram.boardMemory(65536 - 3 * PAGE_SIZE)).toBe(second + 2 * PAGE_SIZE)
  expect(() => ram.boardMemory(1)).toThrow(ConfigError)
})

test.each([
  { lowFrames: 0, highFrames: 1, boardBytes: 0 },
  { lowFrames: MAX_LOW_FRAMES + 1, highFrames: 0, boardBytes: 0 },
  { lowFrames: 1.5, highFrames: 0, boardBytes: 0 },
  { lowFrames: 1, highFrames: -1, boardBytes: 0 },
  { lowFrames: 1, highFrames: 0, boardBytes: -1 },
  { lowFrames: MAX_LOW_FRAMES, highFrames: 0x40000, boardBytes: 1 },
])('a memory of $lowFrames + $highFrames frames and $boardBytes board bytes is a ConfigError', (options) => {
  expect(() => new MachineMemory(options)).toThrow(ConfigError)
})
