/** Deferred unmapping: `iommu.strict=0` where the control domain allows it (Linux drivers/iommu/dma-iommu.c, flush queue; invariant I6). */
import { dom0 } from '@iospace/dom0'
import { buildSystem, messageTurn, planOf, type System, type SystemDescription } from '@iospace/lab'
import { Direction, type Kernel, type KernelBuffer } from '@iospace/linux'
import { expect, test } from 'vitest'
import { readThrough } from '../support/read-through.ts'
import { Rogue } from '../support/rogue.ts'

const ENTRIES = 4
const AGE = 10e6
const { fromDevice } = Direction

/** Runs `body` in a domain with a device that writes wherever it is told, below the given kernel words and limit of pending entries. */
async function withDevice(
  words: string,
  deferred: number,
  body: (kernel: Kernel, device: Rogue) => Promise<void>,
): Promise<System> {
  const description: SystemDescription = {
    seed: 1,
    memory: { lowMiB: 12, highMiB: 12 },
    iommu: 'vtd',
    devices: [{ kind: 'rogue', name: 'device' }],
    dom0: { program: 'dom0', memoryMiB: 4 },
    domains: [
      {
        name: 'driver',
        program: 'driver',
        memoryMiB: 4,
        commandLine: words,
        devices: ['device'],
        limits: { deferred, deferredAge: AGE },
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
          device.device.dma.setMask(64)
          await body(kernel, device)
          done = true
        },
      },
      stores: {},
      turn,
    })
    const { crashes } = await system.run()
    expect([crashes, done]).toEqual([[], true])
    return system
  } finally {
    close()
  }
}

interface Mapped {
  readonly buffer: KernelBuffer
  readonly address: number
  /** The device writes `value`: whether it arrived in the buffer. */
  reached(value: number): boolean
  unmap(): void
}

/** A page that the device has written to once, so that the unit has its translation. */
function mapped(kernel: Kernel, device: Rogue): Mapped {
  const { dma } = device.device
  const buffer = kernel.memory.allocate(4096)!
  const address = dma.mapSingle(buffer, fromDevice)
  const reached = (value: number): boolean => {
    const moved = device.write(address, Uint8Array.of(value, value, value, value)) > 0
    expect(buffer.read8(0) === value).toBe(moved)
    return moved
  }
  expect(reached(1)).toBe(true)
  return { buffer, address, reached, unmap: () => dma.unmapSingle(address, 4096, fromDevice) }
}

test.each([
  ['iommu=xen', ENTRIES],
  ['iommu=xen iommu.strict=1', ENTRIES],
  ['iommu=xen iommu.strict=0', 0],
])('%s with %i entries allowed is strict: after the unmap the device reaches nothing', async (words, deferred) => {
  const system = await withDevice(words, deferred, async (kernel, device) => {
    const page = mapped(kernel, device)
    page.unmap()
    expect(page.reached(2)).toBe(false)
  })
  expect(system.books().references).toBe(0)
})

test('iommu.strict=0: a window stays open after the unmap, and closes when its entry is as old as allowed', async () => {
  const system = await withDevice('iommu=xen iommu.strict=0', ENTRIES, async (kernel, device) => {
    const page = mapped(kernel, device)
    page.unmap()
    expect(page.reached(2)).toBe(true)
    await kernel.sleep(AGE / 2)
    expect(page.reached(3)).toBe(true)
    await kernel.sleep(AGE / 2 + 1e6)
    expect(page.reached(4)).toBe(false)
  })
  expect(system.books().references).toBe(0)
})

test('iommu.strict=0: one entry more than allowed closes the windows of all at once', async () => {
  await withDevice('iommu=xen iommu.strict=0', ENTRIES, async (kernel, device) => {
    const pages = Array.from({ length: ENTRIES + 1 }, () => mapped(kernel, device))
    for (const page of pages.slice(0, ENTRIES)) page.unmap()
    expect(pages.map(({ reached }) => reached(2))).toEqual(pages.map(() => true))
    pages[ENTRIES]!.unmap()
    expect(pages.map(({ reached }) => reached(3))).toEqual(pages.map(() => false))
  })
})

test('iommu.strict=0: an address is not given out again while its window is open', async () => {
  await withDevice('iommu=xen iommu.strict=0', ENTRIES, async (kernel, device) => {
    const first = mapped(kernel, device)
    first.unmap()
    const second = mapped(kernel, device)
    expect(second.address).not.toBe(first.address)
    expect(first.reached(2)).toBe(true)
    expect(second.buffer.read8(0)).toBe(1)
  })
})

test('iommu.strict=0: a driver that lets its device go leaves no window behind', async () => {
  await withDevice('iommu=xen iommu.strict=0', ENTRIES, async (kernel, device) => {
    const page = mapped(kernel, device)
    page.unmap()
    expect(page.reached(2)).toBe(true)
    await kernel.pci.unbind(device.device)
    // Without its driver: the device may use the bus again, and finds nothing there.
    device.device.enable()
    expect(page.reached(3)).toBe(false)
  })
})

test('iommu.strict=0: grants are unmapped strictly, because their granter waits (blkback ends each request with no window)', async () => {
  const { system, crashes, hashes, expected } = await readThrough({
    commandLine: 'iommu=xen iommu.strict=0',
    limits: { deferred: 1000, deferredAge: 1e9 },
  })
  expect([crashes, hashes]).toEqual([[], [expected]])
  expect(system.books().references).toBe(0)
})
