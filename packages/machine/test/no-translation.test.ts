import { expect, test } from 'vitest'
import { DmaOutcome, PAGE_SIZE } from '../src/index.ts'
import { board, enable, Probe } from './board.ts'
import { fc, runs } from './property.ts'

const LOW = 16 * PAGE_SIZE
const FOUR_GIB = 0x1_0000_0000

function rig() {
  const machine = board()
  const probe = new Probe()
  machine.pci.add(0, 0x08, probe)
  enable(machine, 0x08)
  const at = machine.memory.boardMemory(4 * PAGE_SIZE)
  return { memory: machine.memory, interrupts: machine.interrupts, probe, at }
}

const split = (address: number) => [Math.floor(address / FOUR_GIB), address % FOUR_GIB] as const

test('without an IOMMU a bus address is a physical address: any range of RAM, over page edges, both ways', () => {
  const place = fc.tuple(fc.boolean(), fc.nat(LOW - 1), fc.integer({ min: 1, max: 3 * PAGE_SIZE }))
  fc.assert(
    fc.property(place, fc.nat(255), ([high, start, wanted], value) => {
      const { memory, probe, at } = rig()
      const length = Math.min(wanted, LOW - start)
      const [hi, lo] = split(high ? FOUR_GIB + start : start)
      const there = (high ? LOW : 0) + start
      for (let i = 0; i < length; i++) memory.bytes[at + i] = value + i
      expect(probe.dmaWrite(hi, lo, at, length)).toBe(DmaOutcome.untranslated)
      const sent = memory.bytes.slice(at, at + length)
      expect(Buffer.compare(memory.bytes.slice(there, there + length), sent)).toBe(0)
      memory.fill(at, 0, length)
      expect(probe.dmaRead(hi, lo, at, length)).toBe(DmaOutcome.untranslated)
      expect(Buffer.compare(memory.bytes.slice(at, at + length), sent)).toBe(0)
    }),
    runs(50),
  )
})

test.each([
  ['past the end of low RAM', LOW - 8, 8],
  ['past the end of high RAM', FOUR_GIB + LOW - 8, 8],
])('a transfer that runs %s is unclaimed and has moved what lay before the hole', (_, address, before) => {
  const { memory, probe, at } = rig()
  const [hi, lo] = split(address)
  memory.fill(at, 0xaa, 64)
  expect(probe.dmaWrite(hi, lo, at, 64)).toBe(DmaOutcome.unclaimed)
  const there = memory.offset(hi, lo)
  expect([...memory.bytes.subarray(there, there + before)]).toEqual(Array.from({ length: before }, () => 0xaa))
  expect(memory.bytes.indexOf(0xaa, 0)).toBe(there)
})

test.each([
  ['the PCI hole', 0xe000_0000],
  ['above the end of RAM', 2 * FOUR_GIB],
  ['an address that would alias if it lost its upper bits', 2 ** 44],
])('a transfer at %s is unclaimed', (_, address) => {
  const { probe, at } = rig()
  const [hi, lo] = split(address)
  expect(probe.dmaRead(hi, lo, at, 4)).toBe(DmaOutcome.unclaimed)
  expect(probe.dmaWrite(hi, lo, at, 4)).toBe(DmaOutcome.unclaimed)
})

test('the top of the 64-bit space does not wrap to 0', () => {
  const { memory, probe, at } = rig()
  memory.fill(at, 0xaa, 64)
  expect(probe.dmaWrite(-1, -16, at, 64)).toBe(DmaOutcome.unclaimed)
  expect(memory.bytes[0]).toBe(0)
})

test('a doubleword write to 0xFEExxxxx is an interrupt message; anything else there is unclaimed (SDM 3A 11.11)', () => {
  const { memory, interrupts, probe, at } = rig()
  memory.view.setUint32(at, 0x41, true)
  expect(probe.dmaWrite(0, 0xfee0_0000, at, 4)).toBe(DmaOutcome.untranslated)
  expect(probe.dmaWrite(0, 0xfeef_fffc, at, 4)).toBe(DmaOutcome.untranslated)
  expect(interrupts.received[0x41]).toBe(2)
  for (const [hi, lo, length] of [
    [0, 0xfee0_0000, 2],
    [0, 0xfee0_0000, 8],
    [0, 0xfee0_0002, 4],
    [1, 0xfee0_0000, 4],
    [0, 0xfedf_fffe, 4],
  ] as const)
    expect(probe.dmaWrite(hi, lo, at, length)).toBe(DmaOutcome.unclaimed)
  expect(probe.dmaRead(0, 0xfee0_0000, at, 4)).toBe(DmaOutcome.unclaimed)
  expect(interrupts.received[0x41]).toBe(2)
})
