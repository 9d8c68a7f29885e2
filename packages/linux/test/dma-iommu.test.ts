/** The dma-iommu layer over an ideal IOMMU, and dma-debug: facts/linux-dma.md C (sg layout) and D1. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  Direction,
  DMA_MAPPING_ERROR,
  DmaApi,
  DmaDebug,
  DmaIommu,
  DmaParameters,
  type KernelBuffer,
  ScatterList,
  TableDomain,
} from '../src/index.ts'
import { bootBare } from './support/bare.ts'
import { addHand, ModelIommu } from './support/model-iommu.ts'

const { bidirectional, fromDevice, toDevice } = Direction

function rig(): ReturnType<typeof bootBare> & {
  model: ModelIommu
  dma: DmaApi
  debug: DmaDebug
  hand: ReturnType<typeof addHand>
} {
  const bare = bootBare({ scattered: true, lowFrames: 3000 })
  const model = new ModelIommu(bare.machine)
  const hand = addHand(bare.machine)
  bare.machine.pci.translator = model
  const parameters = new DmaParameters()
  const debug = new DmaDebug(() => {})
  const dma = new DmaApi(
    'hand',
    new DmaIommu(bare.kernel.memory, new TableDomain(model), parameters),
    parameters,
    debug,
  )
  return { ...bare, model, dma, debug, hand }
}

const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 13 + (i >> 8)) & 0xff)

describe('mappings', () => {
  const { kernel, dma, model, hand, debug } = rig()
  const buffer = kernel.memory.allocate(64 << 10)!
  const bytes = pattern(64 << 10)
  buffer.write(0, bytes)

  test('a buffer that is scattered in the machine is contiguous for the device, and gone when unmap returns', () => {
    fc.assert(
      fc.property(fc.nat({ max: 60000 }), fc.integer({ min: 1, max: 4000 }), (at, length) => {
        const address = dma.mapSingle(buffer, toDevice, at, length)
        expect(address & 4095).toBe(at & 4095)
        expect(hand.get(address, length)).toEqual(bytes.slice(at, at + length))
        dma.unmapSingle(address, length, toDevice)
        expect(model.reachable).toBe(0)
        expect(hand.get(address, length)).toBeNull()
      }),
    )
  })

  test('access follows the direction exactly: a device reads what is for it, and writes what is from it', () => {
    const one = dma.mapSingle(buffer, toDevice, 0, 4096)
    expect(hand.put(one, new Uint8Array(4))).toBeLessThan(0)
    expect(hand.get(one, 4)).not.toBeNull()
    const two = dma.mapSingle(buffer, fromDevice, 4096, 4096)
    expect(hand.put(two, pattern(4))).toBeGreaterThan(0)
    expect(hand.get(two, 4)).toBeNull()
    const both = dma.mapSingle(buffer, bidirectional, 8192, 4096)
    expect(hand.put(both, pattern(8192).slice(0, 4))).toBeGreaterThan(0)
    expect(hand.get(both, 4)).not.toBeNull()
    dma.unmapSingle(one, 4096, toDevice)
    dma.unmapSingle(two, 4096, fromDevice)
    dma.unmapSingle(both, 4096, bidirectional)
    buffer.write(0, bytes)
  })

  test('a list becomes one range; entries that meet at page edges become one segment, up to its largest size', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: 15 }), fc.nat({ max: 4095 }), fc.boolean()), { minLength: 1, maxLength: 12 }),
        fc.constantFrom(4096, 8192, 65536),
        (entries, maxSegment) => {
          dma.setMaxSegmentSize(maxSegment)
          const list = new ScatterList(16)
          const expected: number[] = []
          for (const [page, offset, whole] of entries) {
            const from = whole ? 0 : offset
            list.add(buffer.pfn + page, from, 4096 - from)
            expected.push(...bytes.subarray(page * 4096 + from, page * 4096 + 4096))
          }
          const segments = dma.mapSg(list, toDevice)
          expect(segments).toBeGreaterThan(0)
          expect(segments).toBeLessThanOrEqual(entries.length)
          const seen: number[] = []
          for (let i = 0; i < segments; i++) {
            expect(list.dmaLengths[i]!).toBeLessThanOrEqual(maxSegment)
            seen.push(...hand.get(list.address(i), list.dmaLengths[i]!)!)
          }
          expect(seen).toEqual(expected)
          // Whole pages in a row are one segment where it may be as long.
          const merges = entries.slice(1).filter(([, offset, whole]) => whole || offset === 0).length
          if (maxSegment === 65536) expect(segments).toBe(entries.length - merges)
          dma.unmapSg(list, toDevice)
          expect(model.reachable).toBe(0)
        },
      ),
    )
    dma.setMaxSegmentSize(65536)
  })

  test('mapEach maps every entry for itself, also more than fit one batch', () => {
    const list = new ScatterList(1500)
    for (let i = 0; i < 1500; i++) list.add(buffer.pfn + (i % 16), i % 4 === 0 ? 3000 : 100, 1500)
    // Entries at 3000 run on into the next page, so the last page of the buffer must not be among them.
    for (let i = 0; i < 1500; i++) if (list.pages[i] === buffer.pfn + 15) list.offsets[i] = 0
    expect(dma.mapEach(list, toDevice)).toBe(1500)
    for (let i = 0; i < 1500; i += 7) {
      const at = (list.pages[i]! - buffer.pfn) * 4096 + list.offsets[i]!
      expect(hand.get(list.address(i), 1500)).toEqual(bytes.slice(at, at + 1500))
    }
    dma.unmapEach(list, toDevice)
    expect(model.reachable).toBe(0)
  })

  test.each([0, 1, 2, 5, 11])(
    'when table %i cannot be written nothing stays mapped, and everything works afterwards',
    (n) => {
      const list = new ScatterList(16)
      list.addBuffer(buffer, 0, 12 * 4096)
      model.failAfter = n
      expect(dma.mapSg(list, toDevice)).toBe(-12)
      expect(model.reachable).toBe(0)
      model.failAfter = n
      expect(dma.mapEach(list, toDevice)).toBe(-12)
      expect(model.reachable).toBe(0)
      model.failAfter = 0
      expect(dma.mapSingle(buffer, toDevice)).toBe(DMA_MAPPING_ERROR)
      model.failAfter = Infinity
      expect(dma.mapSg(list, toDevice)).toBeGreaterThan(0)
      dma.unmapSg(list, toDevice)
    },
  )

  test('coherent memory is zeroed, page aligned on both sides, and aligned to its own power of two for the device (A2)', () => {
    for (const bytes of [1, 4096, 5000, 65536]) {
      const coherent = dma.allocateCoherent(bytes)!
      expect(coherent.address % 2 ** (12 + Math.ceil(Math.log2(Math.ceil(bytes / 4096))))).toBe(0)
      expect(hand.put(coherent.address, pattern(bytes).slice(0, 1))).toBeGreaterThan(0)
      expect(coherent.buffer.read8(0)).toBe(pattern(1)[0])
      dma.freeCoherent(coherent)
    }
    expect(model.reachable).toBe(0)
  })

  test('a 32-bit device gets addresses below 4 GiB whatever frame is behind them', () => {
    dma.setMask(32)
    const address = dma.mapSingle(buffer, toDevice)
    expect(address + buffer.length).toBeLessThanOrEqual(2 ** 32)
    dma.unmapSingle(address, buffer.length, toDevice)
    expect(dma.setMask(12)).toBe(-5)
  })

  test('a correct driver has no report', () => {
    expect(debug.reports).toEqual([])
  })

  test('an I/O page is not handed out again while a device could still have it cached (invariant I7)', () => {
    // The model throws when it is.
    for (let i = 0; i < 200; i++) {
      const address = dma.mapSingle(buffer, toDevice, 0, 4096)
      dma.unmapSingle(address, 4096, toDevice)
    }
  })
})

describe('dma-debug reports (kernel/dma/debug.c, facts D1)', () => {
  interface Wrong extends ReturnType<typeof rig> {
    readonly address: number
    readonly buffer: KernelBuffer
  }

  const check = (wrong: (rig: Wrong) => void, direction: number = fromDevice): string[] => {
    const r = rig()
    const buffer = r.kernel.memory.allocate(4096)!
    const address = r.dma.mapSingle(buffer, direction, 0, 1000)
    wrong({ ...r, address, buffer })
    return r.debug.reports.map((report) => report.class)
  }

  test('1: unmapping the error sentinel', () => {
    expect(check(({ dma }) => dma.unmapSingle(DMA_MAPPING_ERROR, 1000, fromDevice))).toEqual(['freesInvalidAddress'])
  })

  test('2: unmapping what was never mapped, and unmapping twice', () => {
    expect(check(({ dma, address }) => dma.unmapSingle(address + 4096, 1000, fromDevice))).toEqual(['freesUnmapped'])
    expect(
      check(({ dma, address }) => {
        dma.unmapSingle(address, 1000, fromDevice)
        dma.unmapSingle(address, 1000, fromDevice)
      }),
    ).toEqual(['freesUnmapped'])
  })

  test('3: another size', () => {
    expect(check(({ dma, address }) => dma.unmapSingle(address, 999, fromDevice))).toEqual(['wrongSize'])
  })

  test('4: another function', () => {
    expect(check(({ dma, address, buffer }) => dma.freeCoherent({ buffer: buffer.slice(0, 1000), address }))).toContain(
      'wrongFunction',
    )
  })

  test('7: another direction', () => {
    expect(check(({ dma, address }) => dma.unmapSingle(address, 1000, toDevice))).toEqual(['wrongDirection'])
  })

  test('12 and 13: syncing what is not mapped, or beyond its end', () => {
    expect(check(({ dma, address }) => dma.syncForCpu(address + 8192, 4, fromDevice))).toEqual(['syncsUnmapped'])
    expect(check(({ dma, address }) => dma.syncForCpu(address, 1001, fromDevice))).toEqual(['syncsOutside'])
  })

  test('14, 15 and 16: syncing against the direction', () => {
    expect(check(({ dma, address }) => dma.syncForCpu(address, 4, bidirectional))).toEqual(['syncsWrongDirection'])
    expect(check(({ dma, address }) => dma.syncForCpu(address, 4, toDevice), toDevice)).toEqual(['syncsForCpuReadOnly'])
    expect(check(({ dma, address }) => dma.syncForDevice(address, 4, fromDevice))).toEqual(['syncsForDeviceWriteOnly'])
  })

  test('6: a list that has another number of entries than when it was mapped', () => {
    expect(
      check(({ dma, buffer }) => {
        const list = new ScatterList(4)
        list.addBuffer(buffer, 0, 4096)
        dma.mapSg(list, toDevice)
        list.add(buffer.pfn, 0, 512)
        list.dmaLengths[0] = 4096
        dma.unmapSg(list, toDevice)
      }),
    ).toContain('wrongEntryCount')
  })

  test('21: a driver that lets go of its device with mappings left', () => {
    expect(check(({ dma }) => dma.release())).toEqual(['leaked'])
  })
})
