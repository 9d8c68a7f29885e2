/** The xen backend: iommu_op lists as bytes in guest memory, rules of design/abi.md. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Errno } from '@iospace/abi'
import {
  bootKernel,
  Direction,
  DMA_MAPPING_ERROR,
  DmaApi,
  DmaDebug,
  DmaIommu,
  DmaParameters,
  type Kernel,
  ScatterList,
  XenIommuDomain,
} from '../src/index.ts'
import { addHand, type Hand } from './support/model-iommu.ts'
import { ToyHypervisor } from './support/toy-hypervisor.ts'
import { ToyIommu } from './support/toy-iommu.ts'

const { bidirectional, fromDevice, toDevice } = Direction

interface Rig {
  readonly xen: ToyHypervisor
  readonly iommu: ToyIommu
  readonly kernel: Kernel
  readonly guest: Kernel
  readonly dma: DmaApi
  readonly debug: DmaDebug
  readonly hand: Hand
}

function rig(): Rig {
  const xen = new ToyHypervisor()
  const iommu = new ToyIommu(xen)
  xen.iommuOp = (domain, op, pointer) => iommu.call(domain, op, pointer)
  const kernel = bootKernel(xen.create('driver', 2048).platform)
  const guest = bootKernel(xen.create('guest', 512).platform)
  const hand = addHand(xen.machine)
  const parameters = new DmaParameters()
  const debug = new DmaDebug(() => {})
  const domain = new XenIommuDomain(kernel.hypercalls.gate, kernel.memory, 0, 13)
  const dma = new DmaApi('hand', new DmaIommu(kernel.memory, domain, parameters), parameters, debug)
  dma.setMask(64)
  return { xen, iommu, kernel, guest, dma, debug, hand }
}

const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 13 + (i >> 8)) & 0xff)

describe('own pages', () => {
  const r = rig()
  const { kernel, dma, iommu, hand } = r
  const buffer = kernel.memory.allocate(300 * 4096)!
  const bytes = pattern(300 * 4096)
  buffer.write(0, bytes)

  test('one hypercall maps a scattered list as one chain, one unmaps it (ANY and FOLLOWS)', () => {
    const list = new ScatterList(300)
    list.addBuffer(buffer)
    iommu.calls['map'] = 0
    iommu.calls['unmap'] = 0
    dma.setMaxSegmentSize(2 ** 30)
    expect(dma.mapSg(list, toDevice)).toBe(1)
    expect([...iommu.mappings.values()]).toEqual([300])
    expect(hand.get(list.address(0) + 250 * 4096 - 7, 4096)).toEqual(bytes.slice(250 * 4096 - 7, 251 * 4096 - 7))
    dma.unmapSg(list, toDevice)
    expect(iommu.pages.size).toBe(0)
    expect([iommu.calls['map'], iommu.calls['unmap']]).toEqual([1, 1])
  })

  test('a batch of packets is one hypercall each way, and every packet its own mapping, wherever elements cross pages of the list', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: 298 }), fc.nat({ max: 4095 })), { minLength: 1, maxLength: 250 }),
        (packets) => {
          const list = new ScatterList(250)
          for (const [page, offset] of packets) list.add(buffer.pfn + page, offset, 1500)
          iommu.calls['map'] = 0
          iommu.calls['unmap'] = 0
          expect(dma.mapEach(list, toDevice)).toBe(packets.length)
          expect(iommu.mappings.size).toBe(packets.length)
          packets.forEach(([page, offset], i) => {
            const from = page * 4096 + offset
            expect(hand.get(list.address(i), 1500)).toEqual(bytes.slice(from, from + 1500))
          })
          dma.unmapEach(list, toDevice)
          expect(iommu.pages.size).toBe(0)
          expect([iommu.calls['map'], iommu.calls['unmap']]).toEqual([1, 1])
        },
      ),
      { numRuns: 20 },
    )
  })

  test.each([0, 1, 84, 85, 86, 199])(
    'when element %i is refused its error comes back and nothing stays mapped',
    (at) => {
      const list = new ScatterList(200)
      list.addBuffer(buffer, 0, 200 * 4096)
      iommu.failAt = at
      expect(dma.mapSg(list, toDevice)).toBe(-Errno.ENOBUFS)
      expect(iommu.pages.size).toBe(0)
      iommu.failAt = at
      expect(dma.mapEach(list, toDevice)).toBe(-Errno.ENOBUFS)
      expect(iommu.pages.size).toBe(0)
      expect(dma.mapSg(list, toDevice)).toBeGreaterThan(0)
      dma.unmapSg(list, toDevice)
    },
  )

  test('a single mapping across pages is contiguous; more pages than a list holds are an error', () => {
    const address = dma.mapSingle(buffer, bidirectional, 4000, 10000)
    expect(hand.get(address, 10000)).toEqual(bytes.slice(4000, 14000))
    dma.unmapSingle(address, 10000, bidirectional)
    expect(dma.maxMappingSize()).toBe(2 << 20)
    const huge = kernel.memory.allocate(600 * 4096)!
    expect(dma.mapSingle(huge, toDevice)).toBe(DMA_MAPPING_ERROR)
    kernel.memory.free(huge)
  })

  test('the mask of the device is the limit of its addresses', () => {
    dma.setMask(32)
    expect(dma.mapSingle(buffer, toDevice)).toBe(DMA_MAPPING_ERROR)
    dma.setMask(64)
    expect(dma.setMask(12)).toBe(-Errno.EIO)
  })

  test('access follows the direction', () => {
    const address = dma.mapSingle(buffer, fromDevice, 0, 512)
    expect(hand.get(address, 4)).toBeNull()
    expect(hand.put(address, pattern(4))).toBeGreaterThan(0)
    dma.unmapSingle(address, 512, fromDevice)
    buffer.write(0, pattern(8))
  })
})

describe('granted pages', () => {
  function granted(
    r: Rig,
    readonly = false,
  ): { list: ScatterList; refs: number[]; buffer: ReturnType<Kernel['memory']['window']> } {
    const buffer = r.guest.memory.allocate(11 * 4096)!
    buffer.write(0, pattern(11 * 4096))
    const refs = Array.from({ length: 11 }, (_, i) => r.guest.grants.grantAccess(0, buffer.pfn + i, readonly))
    const list = new ScatterList(11)
    list.reset(1)
    for (const ref of refs) list.add(ref, 512, 3584)
    return { list, refs, buffer }
  }

  test('a list of references becomes I/O addresses by one map_grant, with no CPU mapping; unmap_grant ends them', () => {
    const r = rig()
    const { list, refs } = granted(r)
    expect(r.dma.takesGrants).toBe(true)
    expect(r.dma.mapSg(list, fromDevice)).toBe(11)
    expect(r.iommu.calls).toEqual({ map_grant: 1 })
    expect(r.xen.domains[0]!.maps.size).toBe(0)
    for (let i = 0; i < 11; i++) {
      expect(list.address(i) % 4096).toBe(512)
      expect(r.hand.put(list.address(i), new Uint8Array(3584).fill(i))).toBeGreaterThan(0)
      expect(r.guest.grants.inUse(refs[i]!)).toBe(true)
      expect(r.guest.grants.endAccess(refs[i]!)).toBe(false)
    }
    r.dma.unmapSg(list, fromDevice)
    expect(r.iommu.pages.size).toBe(0)
    for (const ref of refs) expect(r.guest.grants.endAccess(ref)).toBe(true)
    expect(r.debug.reports).toEqual([])
  })

  test('one bad reference: its error comes back, and the good ones are let go', () => {
    const r = rig()
    const { list, refs } = granted(r)
    r.guest.grants.endAccess(refs[6]!)
    expect(r.dma.mapSg(list, fromDevice)).toBe(-Errno.ENOENT)
    expect(r.iommu.pages.size).toBe(0)
    for (const [i, ref] of refs.entries()) if (i !== 6) expect(r.guest.grants.inUse(ref)).toBe(false)
  })

  test('a page granted for reading is not given to a device that would write', () => {
    const r = rig()
    const { list } = granted(r, true)
    expect(r.dma.mapSg(list, fromDevice)).toBe(-Errno.EACCES)
    expect(r.dma.mapSg(list, toDevice)).toBe(11)
    expect(r.hand.put(list.address(0), pattern(4))).toBeLessThan(0)
    r.dma.unmapSg(list, toDevice)
  })

  test('an entry that leaves its granted page is refused', () => {
    const r = rig()
    const { list } = granted(r)
    list.lengths[3] = 4096
    expect(r.dma.mapSg(list, toDevice)).toBe(-Errno.EINVAL)
    expect(r.iommu.pages.size).toBe(0)
  })
})
