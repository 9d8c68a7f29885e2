import { ConfigError } from '@iospace/wire'
import { expect, test } from 'vitest'
import { Count, type MmioDevice } from '../src/index.ts'
import { board, Scratch } from './board.ts'

const BASE = 0xfed9_0000

test('what nothing decodes reads all ones and drops writes', () => {
  const { mmio } = board()
  expect(mmio.claims(BASE)).toBe(false)
  expect(mmio.read32(BASE)).toBe(0xffff_ffff)
  expect(mmio.read64(BASE)).toBe(0xffff_ffff_ffff_ffffn)
  mmio.write32(BASE, 1)
  mmio.write64(BASE, 1n)
  expect(mmio.read32(BASE)).toBe(0xffff_ffff)
})

test('a block decodes exactly its range, with offsets from its base, as unsigned words', () => {
  const { mmio } = board()
  const device = new Scratch()
  mmio.map(BASE, 4096, device)
  mmio.write32(BASE, -1)
  mmio.write32(BASE + 4092, 7)
  expect([...device.words]).toEqual([
    [0, 0xffff_ffff],
    [4092, 7],
  ])
  expect(mmio.read32(BASE)).toBe(0xffff_ffff)
  expect(mmio.read32(BASE + 4096)).toBe(0xffff_ffff)
  expect(mmio.read32(BASE - 4)).toBe(0xffff_ffff)
  expect(mmio.claims(BASE + 4095)).toBe(true)
})

test('64-bit accesses to a 32-bit device are two halves, the lower one first', () => {
  const { mmio } = board()
  const log: string[] = []
  const device: MmioDevice = {
    read32: (offset) => (log.push(`read ${offset}`), offset + 1),
    write32: (offset, value) => log.push(`write ${offset} ${value}`),
  }
  mmio.map(BASE, 4096, device)
  expect(mmio.read64(BASE + 8)).toBe((13n << 32n) | 9n)
  mmio.write64(BASE + 16, 0xaaaa_bbbb_0000_0001n)
  expect(log).toEqual(['read 8', 'read 12', 'write 16 1', 'write 20 2863315899'])
})

test('a device that knows 64-bit accesses gets them whole', () => {
  const { mmio } = board()
  let value = 5n
  mmio.map(BASE, 4096, {
    read32: () => 0,
    write32: () => {},
    read64: () => value,
    write64: (_, written) => (value = written),
  })
  mmio.write64(BASE, 9n)
  expect(mmio.read64(BASE)).toBe(9n)
})

test('an access that is not naturally aligned reaches no device', () => {
  const { mmio } = board()
  const device = new Scratch()
  mmio.map(BASE, 4096, device)
  for (const at of [1, 2, 3, 4093, 4094]) {
    expect(mmio.read32(BASE + at)).toBe(0xffff_ffff)
    mmio.write32(BASE + at, 0)
  }
  mmio.write64(BASE + 4, 0n)
  expect(mmio.read64(BASE + 4092)).toBe(0xffff_ffff_ffff_ffffn)
  expect(device.words.size).toBe(0)
})

test('blocks above 4 GiB decode by their whole address', () => {
  const { mmio } = board()
  const [low, high] = [new Scratch(), new Scratch()]
  mmio.map(0xe000_0000, 4096, low)
  mmio.map(0x20_e000_0000, 4096, high)
  mmio.write32(0x20_e000_0000, 3)
  expect([low.words.size, high.words.get(0)]).toEqual([0, 3])
})

test('overlapping blocks are a ConfigError; an unmapped range is free again', () => {
  const { mmio } = board()
  mmio.map(BASE, 4096, new Scratch())
  for (const base of [BASE, BASE + 4092, BASE - 4])
    expect(() => mmio.map(base, 4096, new Scratch())).toThrow(ConfigError)
  expect(mmio.free(BASE - 4096, 4096)).toBe(true)
  mmio.map(BASE + 4096, 4096, new Scratch())
  expect(mmio.read32(BASE)).toBe(0)
  mmio.unmap(BASE)
  expect(mmio.read32(BASE)).toBe(0xffff_ffff)
  mmio.map(BASE, 4096, new Scratch())
})

test('every access is charged, and hardware that is due acts before it', () => {
  const { mmio, clock } = board()
  const device = new Scratch()
  mmio.map(BASE, 4096, device)
  clock.after(1, () => device.words.set(0, 42))
  expect(mmio.read32(BASE)).toBe(42)
  mmio.write32(BASE, 0)
  expect([clock.counts[Count.mmioRead], clock.counts[Count.mmioWrite]]).toEqual([1, 1])
  expect(clock.now).toBe(clock.preset.mmioRead + clock.preset.mmioWrite)
})
