/** What must hold after every attack, whatever became of the attacker. */
import '@iospace/lab/testing'
import { Command, Config, DmaOutcome } from '@iospace/machine'
import { expect } from 'vitest'
import { breaches } from './confinement.ts'
import { confines, functionsOf, type Iommu, reachOf } from './reach.ts'
import { framesOf, play, type Played, type Scene } from './scene.ts'

export interface Expected {
  /** `attacker: message` of each domain that was ended for what its program did. */
  readonly crashes?: readonly (string | RegExp)[]
  /** What the neighbour read is the test's own affair: its program, its disk or the driver domain was not the usual one. */
  readonly readings?: 'any'
}

/** The neighbour read its disk twice; every book balances; no frame is lost; no device reaches anything; and the run came to its end. */
export async function expectUnharmed(played: Played, { crashes = [], readings }: Expected = {}): Promise<void> {
  const { outcome, system, confinement, neighbour, expected } = played
  expect(outcome.waiting).toEqual([])
  expect(outcome.finished).toBe(true)
  expect(played.crashes).toEqual(
    crashes.map((crash) => (typeof crash === 'string' ? crash : expect.stringMatching(crash))),
  )
  if (readings !== 'any') expect(neighbour).toEqual([expected, expected])
  expect(system).toHaveBalancedBooks()
  expect(confinement.found).toEqual([])
  if (confines(system.description.iommu)) expect(confinement.looks).toBeGreaterThan(100)
  expect(played.staleHits).toEqual([])
  await expectNoFrameLost(played)
  expectNoReach(played)
}

/** Frames that a scratch of one more nested hypercall takes, for good. */
const CALL_FRAMES = 16

/** Every frame is free, dom0's or the hypervisor's; and the hypervisor has no more than after a scene without an attack. */
async function expectNoFrameLost({ system, scene }: Played): Promise<void> {
  const { free, hypervisor, dom0, all } = framesOf(system)
  expect(free + hypervisor + dom0).toBe(all)
  const more = hypervisor - (await calmFrames(scene))
  expect([more >= 0 && more <= 8 * CALL_FRAMES, more % CALL_FRAMES]).toEqual([true, 0])
}

const calm = new Map<string, Promise<number>>()

/** The hypervisor's frames after the same scene with an attacker who does nothing. */
function calmFrames({ dma, iommu, rogue, scratch, limits }: Scene): Promise<number> {
  const key = JSON.stringify([dma, iommu, rogue, scratch?.bytes, limits])
  let frames = calm.get(key)
  if (frames === undefined) {
    const quiet: Scene = {
      attacker: async (kernel) => kernel.sleep(1e6),
      ...(dma === undefined ? {} : { dma }),
      ...(iommu === undefined ? {} : { iommu }),
      ...(rogue === undefined ? {} : { rogue }),
      ...(scratch === undefined ? {} : { scratch }),
      ...(limits === undefined ? {} : { limits }),
    }
    frames = play(quiet).then(({ system }) => framesOf(system).hypervisor)
    calm.set(key, frames)
  }
  return frames
}

/** Pages that a Calgary lets pass untranslated: memory there is nobody's. */
const passes = (iommu: Iommu, page: number): boolean => iommu === 'calgary' && page >= 0xa0 && page < 0x100

/** RAM frames that are tried, one of so many. */
const STEP = 29

/** The devices are given back: neither the tables nor a request, with the bus given to every device by the host's own hand, lead anywhere. */
function expectNoReach({ system }: Played): void {
  const { machine, description } = system
  for (const { bdf, requester } of functionsOf(system)) {
    if (!confines(description.iommu)) {
      // Nothing but its own command register keeps such a device from memory.
      expect(machine.pci.configRead(bdf, Config.command, 2) & Command.busMaster).toBe(0)
      continue
    }
    expect(reachOf(system, requester)).toEqual([])
    machine.pci.configWrite(bdf, Config.command, 2, Command.memory | Command.busMaster)
    const device = machine.pci.at(bdf)!
    const outcomes = new Set<number>()
    for (let index = 0; index < machine.memory.frames; index += STEP) {
      const mfn = machine.memory.frameAt(index)
      if (passes(description.iommu, mfn)) continue
      // A read of no bytes: it is translated like any other, and moves nothing.
      outcomes.add(device.dmaRead(mfn >>> 20, mfn << 12, device.messageAt, 0))
    }
    for (let ioPage = 1; ioPage < 256; ioPage++)
      if (!passes(description.iommu, ioPage)) outcomes.add(device.dmaRead(0, ioPage << 12, device.messageAt, 0))
    // After so many faults the hypervisor takes the bus from it.
    outcomes.delete(DmaOutcome.masterDisabled)
    expect([...outcomes]).toEqual([DmaOutcome.blocked])
    machine.pci.configWrite(bdf, Config.command, 2, 0)
  }
  expect(breaches(system)).toEqual([])
}
