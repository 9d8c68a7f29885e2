/**
 * Invariants I1, I2 and I4, checked against the tables themselves at the end of every hypercall of a run: a device reaches frames of its
 * owner, or frames of others that are held by a live grant; never a free frame, never the hypervisor's, never more than the owner may.
 */
import { DOMID } from '@iospace/abi'
import type { System } from '@iospace/lab'
import type { TraceSink } from '@iospace/machine'
import { confines, functionsOf, reachOf, rootOf } from './reach.ts'

/** The breaches in `system` now, as sentences. */
export function breaches(system: System): string[] {
  if (!confines(system.description.iommu)) return []
  const { domains } = system.hypervisor.snapshot()
  const owners = new Map(domains.flatMap(({ domid, devices }) => devices.map((sbdf) => [sbdf, domid] as const)))
  return look(system, rootOf(system), owners)
}

/** `owners`: domain of a device by its number. */
function look(system: System, root: number, owners: ReadonlyMap<number, number>): string[] {
  const { oracle } = system.hypervisor
  const found: string[] = []
  for (const { bdf, requester } of functionsOf(system)) {
    const owner = owners.get(bdf) ?? DOMID.IO
    for (const { ioPage, mfn, access } of reachOf(system, requester, root)) {
      const wrong = whatIsWrong(oracle.frame(mfn), owner, access)
      if (wrong === null) continue
      found.push(`device ${hex(bdf)} reaches frame ${hex(mfn)} at I/O page ${hex(ioPage)}, ${wrong}`)
    }
  }
  return found
}

const hex = (value: number): string => `0x${value.toString(16)}`

type Frame = ReturnType<System['hypervisor']['oracle']['frame']>

function whatIsWrong(frame: Frame, owner: number, access: number): string | null {
  if (frame === undefined) return 'which is no RAM'
  if (owner === DOMID.IO) return 'though nobody has the device'
  if (frame.owner < 0) return 'which is free'
  if (frame.owner === DOMID.XEN) return 'which is the hypervisor’s'
  if (frame.owner === owner && frame.kept) return null
  // A grant in use, or a mapping, holds the frame beyond its owner's own reference; and its type, for writing.
  const held = frame.count - (frame.kept ? 1 : 0)
  if (held < 1) return `which is domain ${frame.owner}’s and not held by a grant`
  return (access & 2) !== 0 && frame.typeCount === 0
    ? `which is domain ${frame.owner}’s and not held for writing`
    : null
}

/** Calls after which nobody can reach more or less than before. */
const HARMLESS = /^(event_channel_op|sched_op|console_io|xen_version|domctl\.getdomaininfo|iommu_op\.query)|unknown$/

/** A trace sink that looks at the end of every hypercall that matters, and keeps the first breaches that it sees. */
export class ConfinementWatch implements TraceSink {
  readonly found: string[] = []
  /** Hypercalls looked at. */
  looks = 0
  readonly #owners = new Map<number, number>()
  #system: System | null = null
  #root = -1

  /** Begins to look. */
  watch(system: System): void {
    if (!confines(system.description.iommu)) return
    for (const { bdf } of functionsOf(system)) this.#owners.set(bdf, 0)
    this.#root = rootOf(system)
    this.#system = system
  }

  hypercall(_start: number, _end: number, domid: number, name: string): void {
    const system = this.#system
    if (system === null || this.found.length > 10 || HARMLESS.test(name)) return
    this.looks++
    for (const breach of look(system, this.#root, this.#owners))
      this.found.push(`after ${name} of domain ${domid}: ${breach}`)
  }

  device(_time: number, sbdf: number, domid: number): void {
    this.#owners.set(sbdf, domid)
  }

  domain(): void {}
  map(): void {}
  unmap(): void {}
  dma(): void {}
  fault(): void {}
}
