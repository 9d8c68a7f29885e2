/** The tables of an IOMMU that the kernel drives itself, over the interface that every driver has. */
import { type IommuDriver, DriverStatus } from '@iospace/iommu/driver'
import { describe, expect, test } from 'vitest'
import { Direction, type Kernel, ScatterList } from '../src/index.ts'
import { bootBare } from './support/bare.ts'
import { addHand, type Hand, ModelIommu } from './support/model-iommu.ts'

interface Rig {
  readonly kernel: Kernel
  readonly hand: Hand
  readonly model: ModelIommu
  readonly calls: string[]
}

/** A unit whose table is the model; `answers` are what its calls say instead of ok. */
function rig(answers: Partial<Record<'createTable' | 'attach' | 'map', number>> = {}, commandLine = ''): Rig {
  const { machine, kernel } = bootBare({ scattered: true, commandLine: `dma_debug=on ${commandLine}` })
  const model = new ModelIommu(machine)
  machine.pci.translator = model
  const hand = addHand(machine)
  const calls: string[] = []
  const page = (hi: number, lo: number): number => (hi >>> 0) * 2 ** 20 + (lo >>> 12)
  const note = (name: string): number => {
    calls.push(name)
    return DriverStatus.ok
  }
  const driver: Pick<
    IommuDriver,
    | 'capabilities'
    | 'createTable'
    | 'destroyTable'
    | 'attach'
    | 'block'
    | 'map'
    | 'unmap'
    | 'queueInvalidation'
    | 'completeInvalidations'
  > = {
    capabilities: { kind: 'vtd', addressBits: 39 } as IommuDriver['capabilities'],
    createTable: (bits) => note(`create ${bits}`) + (answers.createTable ?? 7),
    destroyTable: (table) => note(`destroy ${table}`),
    attach: (requester, table) => note(`attach ${requester} ${table}`) + (answers.attach ?? DriverStatus.ok),
    block: (requester) => note(`block ${requester}`),
    map: (_table, hi, lo, mfn, pages, access) => answers.map ?? model.map(page(hi, lo), mfn, pages, access),
    unmap: (_table, hi, lo, pages) => model.unmap(page(hi, lo), pages),
    queueInvalidation: () => note('queue'),
    completeInvalidations: () => note('complete') + model.invalidate(),
  }
  kernel.dma.iommu = driver as IommuDriver
  return { kernel, hand, model, calls }
}

test('a device gets a table of its own; an unmap is complete only when its invalidation is', () => {
  const { kernel, hand, model, calls } = rig()
  const dma = kernel.dma.open(8)
  expect(dma.backend).toBe('vtd')
  expect(calls).toEqual(['create 39', 'attach 8 7'])
  const buffer = kernel.memory.allocate(5 * 4096)!
  buffer.fill(0x33)
  const address = dma.mapSingle(buffer, Direction.toDevice)
  // Interrupt messages begin at 0xFEE00000 and are not translated.
  expect(address + buffer.length).toBeLessThanOrEqual(0xfee0_0000)
  expect(hand.get(address, 5 * 4096)!.every((byte) => byte === 0x33)).toBe(true)
  dma.unmapSingle(address, buffer.length, Direction.toDevice)
  expect(calls.slice(2)).toEqual(['queue', 'complete'])
  expect(model.reachable).toBe(0)
  dma.release()
  expect(calls.slice(4)).toEqual(['block 8', 'destroy 7'])
  expect(kernel.dma.debug!.reports).toEqual([])
})

describe('what the unit refuses', () => {
  test.each([
    [DriverStatus.noMemory, -12],
    [DriverStatus.timedOut, -5],
    [DriverStatus.unsupported, -95],
  ])('status %i of a map is errno %i', (status, errno) => {
    const { kernel } = rig({ map: status })
    const buffer = kernel.memory.allocate(4096)!
    const list = new ScatterList(1)
    list.addBuffer(buffer)
    expect(kernel.dma.open(8).mapSg(list, Direction.toDevice)).toBe(errno)
  })

  test('a device that cannot be attached has no DMA, and its table is given back', () => {
    const { kernel, calls } = rig({ attach: DriverStatus.timedOut })
    expect(() => kernel.dma.open(8)).toThrow(/could not be attached/)
    expect(calls.at(-1)).toBe('destroy 7')
    expect(() => rig({ createTable: DriverStatus.noTable }).kernel.dma.open(8)).toThrow(/could not be attached/)
  })
})

test.each([
  ['iommu=off', 'nommu'],
  ['iommu=soft', 'swiotlb'],
  ['swiotlb=force', 'swiotlb'],
  ['iommu=force', 'vtd'],
])('%s decides whether the unit is used', (commandLine, backend) => {
  expect(rig({}, commandLine).kernel.dma.open(8).backend).toBe(backend)
})
