import { START_INFO_PFN } from '@iospace/abi'
import { MemoryBlockStore } from '@iospace/devices'
import type { System } from '@iospace/lab'
import { BlockOp, BlockRequest, nvmeDriver, submit, type Kernel } from '@iospace/linux'
import { expect, test } from 'vitest'
import { page } from '../../support/raw-frontend.ts'
import { Domid, noise, play, type Dma } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

/** A kernel whose table of machine frames says that its page `pfn` is frame `mfn`. */
function lieAbout(kernel: Kernel, pfn: number, mfn: number): void {
  const { platform } = kernel.memory
  const honest = platform.machineFrame.bind(platform)
  Object.defineProperty(platform, 'machineFrame', {
    configurable: true,
    value: (asked: number) => (asked === pfn ? mfn : honest(asked)),
  })
}

interface Shot {
  readonly name: string
  readonly read: number
  readonly write: number
  readonly changed: boolean
  /** The victim's bytes are on the disk. */
  readonly leaked: boolean
}

async function shoot(dma: Dma, iommu: 'vtd' | 'none'): Promise<{ shots: Shot[]; works: number }> {
  const scratch = new MemoryBlockStore(noise(64 * 512, 3))
  const shots: Shot[] = []
  let works = -1
  let system!: System
  const played = await play({
    dma,
    iommu,
    scratch,
    prepare: (built) => (system = built),
    attacker: async (kernel) => kernel.sleep(5e6),
    neighbour: async (kernel) => kernel.sleep(5e6),
    driver: async (kernel) => {
      await kernel.sleep(1e6)
      await kernel.pci.register(nvmeDriver)
      const disk = kernel.block.get('nvme1n1')!
      const { oracle } = system.hypervisor
      const targets: [string, number][] = [
        ['dom0', oracle.addressOf(Domid.dom0, START_INFO_PFN)],
        ['a guest', oracle.addressOf(Domid.attacker, START_INFO_PFN)],
        ['the hypervisor', oracle.scratchAddress()],
        ...(iommu === 'none' ? [] : ([['the root table', oracle.iommuFrames()[0]! * 4096]] as [string, number][])),
      ]
      const ask = async (op: number, pfn: number): Promise<number> => {
        const request = new BlockRequest(1, () => undefined)
        request.op = op
        request.sector = 8
        request.list.addBuffer(kernel.memory.window(pfn))
        return await submit(kernel, disk, request)
      }
      works = await ask(BlockOp.read, page(kernel).pfn)
      for (const [name, address] of targets) {
        const { pfn } = page(kernel)
        lieAbout(kernel, pfn, address / 4096)
        const before = system.oracle.snapshot(address, 4096)
        const content = scratch.contents.slice()
        // Carried off first: a reading would put other bytes there.
        const write = await ask(BlockOp.write, pfn)
        const leaked = scratch.contents.subarray(8 * 512, 9 * 512).some((byte, i) => byte !== content[8 * 512 + i])
        scratch.contents.set(content)
        const changes = (): boolean => !system.oracle.snapshot(address, 4096).every((byte, i) => byte === before[i])
        const read = await ask(BlockOp.read, pfn)
        // The hypervisor's scratch lives: what counts there is whether the disk's bytes arrived.
        const arrived = system.oracle.snapshot(address, 4096).every((byte, i) => byte === content[8 * 512 + i])
        const changed = name === 'the hypervisor' ? arrived : changes()
        system.oracle.restore(address, before)
        shots.push({ name, read, write, changed, leaked })
      }
    },
  })
  await expectUnharmed(played, { readings: 'any' })
  return { shots, works }
}

test.each(['nommu', 'xen'] as const)(
  'with VT-d a driver domain’s controller reaches its own memory only, --dma %s (I1, I2)',
  async (dma) => {
    const { shots, works } = await shoot(dma, 'vtd')
    expect(works).toBe(0)
    expect(shots).toEqual(
      ['dom0', 'a guest', 'the hypervisor', 'the root table'].map((name) => ({
        name,
        read: -5,
        write: -5,
        changed: false,
        leaked: false,
      })),
    )
  },
)

test('without an IOMMU it reaches everything: what unsafe passthrough means', async () => {
  const { shots, works } = await shoot('nommu', 'none')
  expect(works).toBe(0)
  expect(shots).toEqual(
    ['dom0', 'a guest', 'the hypervisor'].map((name) => ({ name, read: 0, write: 0, changed: true, leaked: true })),
  )
})
