import * as abi from '@iospace/abi'
import type { System } from '@iospace/lab'
import type { Kernel, KernelBuffer } from '@iospace/linux'
import { Random, TaskHung } from '@iospace/machine'
import { expect, test } from 'vitest'
import { endAbruptly } from '../../support/abrupt-end.ts'
import { fc, runs } from '../../support/property.ts'
import { page } from '../../support/raw-frontend.ts'
import { Rogue } from '../../support/rogue.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const CALLS = 1000
const ROGUE = 0x200
const STRUCTS = Object.values(abi.IOMMU_SUBOPS).map(({ struct }) => struct.size)

/** Calls that would only end the attacker before it has tried anything. */
const forbidden = (nr: number, subop: number): boolean =>
  nr === abi.HYPERCALL.sched_op && subop === abi.SCHEDOP.shutdown

/** A bag of numbers, from which every argument and every word of a struct is drawn. */
function bag(kernel: Kernel, system: System, buffers: readonly KernelBuffer[], random: Random): () => number {
  const { oracle } = system.hypervisor
  const frames = [Domid.dom0, Domid.driver, Domid.attacker, Domid.neighbour].map(
    (domid) => oracle.addressOf(domid, abi.START_INFO_PFN) / 4096,
  )
  const own = buffers.map(({ pfn }) => kernel.memory.platform.machineFrame(pfn))
  const numbers = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    31,
    32,
    33,
    63,
    64,
    100,
    255,
    256,
    511,
    512,
    4095,
    4096,
    4097,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_f000,
    0xffff_ffff,

    Domid.dom0,
    Domid.driver,
    Domid.attacker,
    Domid.neighbour,
    77,
    abi.DOMID.SELF,
    abi.DOMID.IO,
    abi.DOMID.XEN,
    abi.DOMID.INVALID,
    ...frames,
    ...own,
    oracle.scratchAddress() / 4096,
    oracle.iommuFrames()[0]!,
    0xe_0000,
    0xf_ee00,
    ...buffers.map((buffer) => buffer.address()),
    0x100,
    ROGUE,
    abi.XEN_DOMCTL_INTERFACE_VERSION,
    abi.SPACE_NONE,
    abi.HANDLE_NONE,
    abi.IOMMU_MAGIC,
    1000,
    1500,
    2000,
    kernel.memory.platform.pages - 1,
    kernel.memory.platform.pages,
    ...STRUCTS,
  ]
  return () => numbers[random.below(numbers.length)]!
}

const NUMBERS = Object.values(abi.HYPERCALL)

/** One random thing that a guest can do. Its answer, which must be a number. */
function act(
  kernel: Kernel,
  rogue: Rogue,
  draw: () => number,
  buffers: readonly KernelBuffer[],
  random: Random,
): number {
  const { platform } = kernel
  switch (random.below(20)) {
    case 0:
      return rogue.read(BigInt(draw()) * (random.below(2) === 0 ? 4096n : 1n), new Uint8Array(4))
    case 1:
      return rogue.write(BigInt(draw()) * 4096n, Uint8Array.of(1, 2, 3, 4))
    case 2:
      return platform.configRead(draw(), draw() & 0xffc, 4)
    case 3:
      platform.configWrite(random.below(2) === 0 ? ROGUE : draw(), draw() & 0xffc, 4, draw())
      return 0
    case 4:
      return platform.read32(draw() * 4096)
  }
  const nr = random.below(10) === 0 ? draw() : NUMBERS[random.below(NUMBERS.length)]!
  const subop = random.below(8) === 0 ? draw() : random.below(33)
  if (forbidden(nr, subop)) return 0
  const buffer = buffers[random.below(buffers.length)]!
  const words = 4 + random.below(40)
  for (let word = 0; word < words; word++) buffer.write32(4 * word, draw())
  // Half of the time what every iommu_op begins with, so that more is looked at than its size.
  if (nr === abi.HYPERCALL.iommu_op && random.below(2) === 0) {
    const struct = abi.IOMMU_SUBOPS[random.below(abi.IOMMU_SUBOPS.length)]!.struct
    buffer.write32(0, struct.size)
    buffer.write32(4, random.below(4) === 0 ? draw() : 0)
    buffer.write32(8, abi.DOMID.SELF)
    if (random.below(2) === 0)
      for (const { offset, type } of struct.layout.fields) if (type.kind === 'pad') buffer.fill(0, offset, type.size)
  }
  const pointer = random.below(10) === 0 ? draw() : buffer.address()
  const first = nr === abi.HYPERCALL.domctl ? pointer : subop
  return kernel.hypercalls.gate(nr, first, pointer, random.below(3) === 0 ? draw() & 0xff : 1)
}

test('whatever a guest says, the hypervisor answers with a number, and nobody else notices', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 - 1 }), async (seed) => {
      const strange: string[] = []
      let done = 0
      let system!: System
      const played = await play({
        seed,
        rogue: true,
        prepare: (built) => (system = built),
        attacker: async (kernel) => {
          const random = new Random(seed)
          const rogue = await Rogue.bind(kernel)
          const buffers = Array.from({ length: 6 }, () => page(kernel))
          const draw = bag(kernel, system, buffers, random)
          for (; done < CALLS; done++) {
            try {
              const answer = act(kernel, rogue, draw, buffers, random)
              if (!Number.isInteger(answer)) strange.push(`answer ${answer}`)
            } catch (error) {
              if (error instanceof TaskHung) return
              strange.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
            }
            // Its kernel's own wait may have lost the ground under its feet; that is its own affair.
            if (done % 30 === 29) await kernel.sleep(5000)
          }
          await endAbruptly(kernel)
        },
      })
      expect(strange).toEqual([])
      expect(done).toBeGreaterThan(100)
      expect(played.crashes.filter((crash) => !crash.startsWith('attacker: '))).toEqual([])
      await expectUnharmed(played, { crashes: played.crashes })
    }),
    { ...runs(3), endOnFailure: true },
  )
})
