/** The bounce buffer pool of a domain: in one piece where the machine has memory in one piece (drivers/xen/swiotlb-xen.c, xen_swiotlb_fixup). */
import { dom0 } from '@iospace/dom0'
import { buildSystem, messageTurn, planOf, type System, type SystemDescription } from '@iospace/lab'
import { Direction, type Kernel } from '@iospace/linux'
import { expect, test } from 'vitest'
import { Rogue } from '../support/rogue.ts'
import { noise } from '../support/scene.ts'

/** Slots of 2 KiB: four sets of 256 KiB. */
const SLOTS = 512
const SET = 256 << 10
const FOUR_GIB = 2 ** 32

async function withDevice(
  memory: SystemDescription['memory'],
  body: (kernel: Kernel, device: Rogue) => Promise<void>,
): Promise<System> {
  const description: SystemDescription = {
    seed: 2,
    memory,
    iommu: 'vtd',
    devices: [{ kind: 'rogue', name: 'device' }],
    dom0: { program: 'dom0', memoryMiB: 4 },
    domains: [
      {
        name: 'driver',
        program: 'driver',
        memoryMiB: 8,
        commandLine: `swiotlb=${SLOTS},force dma_debug=on`,
        devices: ['device'],
        limits: { tablePages: 4096 },
      },
    ],
  }
  const { turn, close } = messageTurn()
  let done = false
  try {
    const system = buildSystem(description, {
      programs: {
        dom0: dom0({ plan: planOf(description) }),
        driver: async (kernel) => {
          const device = await Rogue.bind(kernel)
          device.device.dma.setMask(32)
          await body(kernel, device)
          expect(kernel.dma.debug!.reports).toEqual([])
          done = true
        },
      },
      stores: {},
      turn,
    })
    const { crashes } = await system.run()
    expect([crashes, done]).toEqual([[], true])
    expect(system.books().references).toBe(0)
    return system
  } finally {
    close()
  }
}

test('each set is exchanged for 256 KiB in one piece below 4 GiB: a mapping of many pages has one address, and the device finds all of it there', async () => {
  const bytes = noise(SET)
  const system = await withDevice({ lowMiB: 2800, highMiB: 600 }, async (kernel, device) => {
    const { dma } = device.device
    const buffer = kernel.memory.allocate(SET)!
    buffer.write(0, bytes)
    const address = dma.mapSingle(buffer, Direction.toDevice)
    expect(address).toBeGreaterThan(0)
    expect(address + SET).toBeLessThanOrEqual(FOUR_GIB)
    expect(kernel.dma.pool!.largestRun()).toBeGreaterThanOrEqual(SET)
    const part = new Uint8Array(64)
    for (const at of [0, 4096 - 32, 33 * 4096 - 32, SET - 64]) {
      expect(device.read(address + at, part)).toBeGreaterThan(0)
      expect(part).toEqual(bytes.slice(at, at + 64))
    }
    dma.unmapSingle(address, SET, Direction.toDevice)
    kernel.memory.free(buffer)
  })
  expect(system.books().hypercalls['memory_op.exchange']).toBe(SLOTS / 128)
})

test('where the machine’s memory is in pieces the pool is, too: mappings of a page go on, and the hypervisor is asked once', async () => {
  const system = await withDevice({ lowMiB: 12, highMiB: 12 }, async (kernel, device) => {
    const { dma } = device.device
    const buffer = kernel.memory.allocate(4096)!
    buffer.fill(0x5a)
    const address = dma.mapSingle(buffer, Direction.toDevice)
    const part = new Uint8Array(64)
    expect(device.read(address + 100, part)).toBeGreaterThan(0)
    expect(part.every((byte) => byte === 0x5a)).toBe(true)
    dma.unmapSingle(address, 4096, Direction.toDevice)
    expect(kernel.dma.pool!.slots).toBe(SLOTS)
    expect(kernel.dma.pool!.largestRun()).toBeLessThan(SET)
    kernel.memory.free(buffer)
  })
  expect(system.books().hypercalls['memory_op.exchange']).toBe(1)
})
