/** nommu and swiotlb: rules of facts/linux-dma.md B3 and B4. */
import fc from 'fast-check'
import { Count } from '@iospace/machine'
import { describe, expect, test } from 'vitest'
import { Direction, DMA_MAPPING_ERROR, type DmaApi, type Kernel, OWN_PAGES, ScatterList } from '../src/index.ts'
import { bootBare, type Bare, type BareOptions } from './support/bare.ts'
import { addHand, type Hand } from './support/model-iommu.ts'

const { bidirectional, fromDevice, toDevice } = Direction

interface Rig extends Bare {
  readonly dma: DmaApi
  readonly hand: Hand
}

function rig(options: BareOptions = {}): Rig {
  const bare = bootBare({ ...options, commandLine: `dma_debug=on ${options.commandLine ?? ''}` })
  const hand = addHand(bare.machine)
  const dma = bare.kernel.dma.open(8)
  expect(dma.setMask(64)).toBe(0)
  return { ...bare, dma, hand }
}

const pattern = (length: number, seed = 1): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 0xff)
const reports = (kernel: Kernel): string[] => kernel.dma.debug!.reports.map((report) => report.class)

describe('nommu (pci-nommu.c)', () => {
  test('the bus address is the machine address', () => {
    const { dma, kernel, hand } = rig({ commandLine: 'iommu=off' })
    const buffer = kernel.memory.allocate(8192)!
    buffer.write(0, pattern(8192))
    const address = dma.mapSingle(buffer, toDevice, 100, 8000)
    expect(dma.backend).toBe('nommu')
    expect(address).toBe(kernel.platform.memory.machineFrame(buffer.pfn) * 4096 + 100)
    expect(hand.get(address, 8000)).toEqual(pattern(8192).slice(100, 8100))
    dma.unmapSingle(address, 8000, toDevice)
    expect(reports(kernel)).toEqual([])
  })

  test('an end beyond the mask is an error: addr + size − 1 must not exceed it', () => {
    const { dma, kernel } = rig({ commandLine: 'iommu=off', lowFrames: 4096, highFrames: 4096 })
    const { memory } = kernel
    const pfn = 0x100000
    const high = memory.window(pfn)
    dma.setMask(33)
    expect(dma.mapSingle(high, toDevice)).toBe(pfn * 4096)
    dma.unmapSingle(pfn * 4096, 4096, toDevice)
    dma.setMask(32)
    expect(dma.mapSingle(high, toDevice)).toBe(DMA_MAPPING_ERROR)
    expect(dma.setMask(23)).toBe(-5)
    expect(dma.allocateCoherent(4096)!.address).toBeLessThan(2 ** 32)
  })

  test('pages that do not lie side by side in the machine cannot be one mapping, but can be a list', () => {
    const { dma, kernel } = rig({ commandLine: 'iommu=off', scattered: true })
    const buffer = kernel.memory.allocate(3 * 4096)!
    expect(dma.mapSingle(buffer, toDevice)).toBe(DMA_MAPPING_ERROR)
    const list = new ScatterList(8)
    list.addBuffer(buffer)
    expect(dma.mapSg(list, toDevice)).toBe(3)
    expect(list.address(1)).toBe(kernel.platform.memory.machineFrame(buffer.pfn + 1) * 4096)
    dma.unmapSg(list, toDevice)
    const joined = new ScatterList(1)
    joined.add(buffer.pfn, 0, 3 * 4096)
    expect(dma.mapSg(joined, toDevice)).toBe(-5)
  })

  test('granted pages have no address that the CPU or this backend could use', () => {
    const { dma } = rig({ commandLine: 'iommu=off' })
    const list = new ScatterList(1)
    list.reset(3)
    list.add(8, 0, 512)
    expect(dma.takesGrants).toBe(false)
    expect(dma.mapSg(list, toDevice)).toBe(-22)
    list.reset()
    expect(list.granter).toBe(OWN_PAGES)
  })
})

describe('swiotlb (kernel/dma/swiotlb.c)', () => {
  const force = { commandLine: 'swiotlb=1024,force' }

  test('mapping copies in, also for data from the device: what the device leaves alone stays (B3, copy rules)', () => {
    const { dma, kernel, hand, machine } = rig(force)
    const buffer = kernel.memory.allocate(4096)!
    buffer.write(0, pattern(4096))
    const before = machine.clock.counts[Count.bounceCopyByte]!
    const address = dma.mapSingle(buffer, fromDevice)
    expect(address).not.toBe(kernel.platform.memory.machineFrame(buffer.pfn) * 4096)
    hand.put(address + 10, new Uint8Array(20).fill(0xee))
    expect(buffer.read(10, new Uint8Array(20))).toEqual(pattern(4096).slice(10, 30))
    dma.unmapSingle(address, 4096, fromDevice)
    const expected = pattern(4096).fill(0xee, 10, 30)
    expect(buffer.read(0, new Uint8Array(4096))).toEqual(expected)
    expect(machine.clock.counts[Count.bounceCopyByte]! - before).toBe(8192)
    expect(kernel.dma.bouncedPayload).toBe(4096)
    expect(kernel.dma.pool!.usedSlots).toBe(0)
  })

  test('unmapping copies back only what the device may have written', () => {
    const { dma, kernel, hand } = rig(force)
    for (const direction of [toDevice, bidirectional]) {
      const buffer = kernel.memory.allocate(512)!
      const address = dma.mapSingle(buffer, direction)
      hand.put(address, new Uint8Array(512).fill(7))
      dma.unmapSingle(address, 512, direction)
      expect(buffer.read8(0)).toBe(direction === toDevice ? 0 : 7)
    }
  })

  test('syncing moves bytes one way, for the part that is named', () => {
    const { dma, kernel, hand } = rig(force)
    const buffer = kernel.memory.allocate(4096)!
    const address = dma.mapSingle(buffer, bidirectional)
    hand.put(address, pattern(4096, 5))
    dma.syncForCpu(address, 100, bidirectional, 1000)
    expect(buffer.read(1000, new Uint8Array(100))).toEqual(pattern(4096, 5).slice(1000, 1100))
    expect(buffer.read8(999)).toBe(0)
    buffer.fill(0x44, 1000, 100)
    dma.syncForDevice(address, 50, bidirectional, 1000)
    expect(hand.get(address + 1000, 60)).toEqual(pattern(4096, 5).slice(1000, 1060).fill(0x44, 0, 50))
    dma.unmapSingle(address, 4096, bidirectional)
    expect(reports(kernel)).toEqual([])
  })

  test('address bits under min_align_mask are kept, a page or more begins at a page, and no mapping leaves its set of 128 slots', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0, 0x7ff, 0xfff),
        fc.array(fc.tuple(fc.nat({ max: 4095 }), fc.integer({ min: 1, max: 20000 })), { minLength: 1, maxLength: 20 }),
        (mask, mappings) => {
          const { dma, kernel } = shared
          dma.setMinAlignMask(mask)
          const live: { address: number; length: number }[] = []
          for (const [offset, length] of mappings) {
            const address = dma.mapSingle(big, toDevice, offset, length)
            if (address === DMA_MAPPING_ERROR) continue
            expect((address ^ offset) & mask).toBe(0)
            if (mask === 0 && length >= 4096) expect(address % 4096).toBe(0)
            const sets = kernel.dma.pool!
            const first = sets.find(address)
            const last = sets.find(address + length - 1)
            expect(first).toBeGreaterThanOrEqual(0)
            expect(last).toBe(first)
            for (const other of live)
              expect(address + length <= other.address || other.address + other.length <= address).toBe(true)
            live.push({ address, length })
          }
          for (const { address, length } of live) dma.unmapSingle(address, length, toDevice)
          expect(kernel.dma.pool!.usedSlots).toBe(0)
        },
      ),
    )
  })

  test('the largest mapping is 256 KiB, less what alignment takes: 252 KiB for NVMe (B3)', () => {
    const { dma, kernel } = rig(force)
    expect(dma.maxMappingSize()).toBe(256 << 10)
    dma.setMinAlignMask(4095)
    expect(dma.maxMappingSize()).toBe(252 << 10)
    const buffer = kernel.memory.allocate(512 << 10)!
    expect(dma.mapSingle(buffer, toDevice, 0, (256 << 10) + 1)).toBe(DMA_MAPPING_ERROR)
    const address = dma.mapSingle(buffer, toDevice, 4095, 252 << 10)
    expect(address).toBeGreaterThan(0)
    dma.unmapSingle(address, 252 << 10, toDevice)
  })

  test('a full pool is an error, and a list that does not fit leaves nothing mapped', () => {
    const { dma, kernel } = rig({ commandLine: 'swiotlb=128,force' })
    const buffer = kernel.memory.allocate(512 << 10)!
    const list = new ScatterList(128)
    list.addBuffer(buffer)
    expect(dma.mapSg(list, toDevice)).toBe(-12)
    expect(kernel.dma.pool!.usedSlots).toBe(0)
    list.reset()
    list.addBuffer(buffer, 0, 256 << 10)
    expect(dma.mapSg(list, toDevice)).toBe(64)
    expect(dma.mapSingle(buffer, toDevice, 0, 1)).toBe(DMA_MAPPING_ERROR)
    expect(kernel.dma.pool!.highWater).toBe(128)
    dma.unmapSg(list, toDevice)
    expect(reports(kernel)).toEqual([])
  })

  test('without force only what the device cannot reach bounces, into memory below 4 GiB', () => {
    const { dma, kernel, hand } = rig({ commandLine: 'iommu=soft swiotlb=128', lowFrames: 1024, highFrames: 1024 })
    dma.setMask(32)
    const low = kernel.memory.window(500)
    const high = kernel.memory.window(0x100010)
    high.write(0, pattern(4096))
    expect(dma.mapSingle(low, toDevice)).toBe(500 * 4096)
    const address = dma.mapSingle(high, toDevice)
    expect(address).toBeLessThan(2 ** 32)
    expect(hand.get(address, 4096)).toEqual(pattern(4096))
    dma.unmapSingle(500 * 4096, 4096, toDevice)
    dma.unmapSingle(address, 4096, toDevice)
    expect(kernel.dma.bouncedPayload).toBe(4096)
  })

  test('over scattered frames a list of pages bounces, and no mapping is longer than frames lie together', () => {
    const { dma, kernel, hand } = rig({ ...force, scattered: true })
    const buffer = kernel.memory.allocate(11 * 4096)!
    buffer.write(0, pattern(11 * 4096))
    const list = new ScatterList(11)
    list.addBuffer(buffer, 512, 10 * 4096)
    dma.setMinAlignMask(4095)
    expect(dma.mapSg(list, bidirectional)).toBe(11)
    for (let i = 0, at = 512; i < 11; at += list.dmaLengths[i++]!) {
      expect(hand.get(list.address(i), list.dmaLengths[i]!)).toEqual(
        pattern(11 * 4096).slice(at, at + list.dmaLengths[i]!),
      )
      expect(list.address(i) & 4095).toBe(list.offsets[i])
      hand.put(list.address(i), new Uint8Array(list.dmaLengths[i]!).fill(i))
    }
    dma.unmapSg(list, bidirectional)
    expect(buffer.read8(511)).toBe(pattern(512)[511])
    expect(buffer.read8(512)).toBe(0)
    expect(buffer.read8(10 * 4096 + 100)).toBe(10)
    expect(dma.maxMappingSize()).toBeLessThan(256 << 10)
  })

  const shared = rig({ ...force, lowFrames: 4096 })
  const big = shared.kernel.memory.allocate(128 << 10)!
})
