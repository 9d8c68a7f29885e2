/**
 * The end of a domain, in the order that keeps devices from frames that are no longer its: its programs stop; devices are blocked; grant
 * maps end; event channels close; spaces, then memory go. Everything waits for its invalidation. A domain whose frames others still hold stays as
 * a shell until the last one is let go. Source: xen/common/domain.c (domain_kill, domain_teardown).
 */
import { Errno } from '@iospace/abi'
import { quarantine } from './assignment/assign.ts'
import type { Core } from './core.ts'
import type { Domain } from './domain.ts'
import { resetPorts } from './event-channel/use.ts'
import { dropFaultRing } from './faults/set-ring.ts'
import { UNMAP_BATCH, UnmapBatch } from './grant-table/unmap.ts'
import { destroySpace } from './io-space/destroy.ts'
import { SlotKind } from './p2m.ts'

const FRAMES_BETWEEN_CHECKS = 512

/** 0, or `ESRCH` when that has been done. The control domain may call it again for a shell: nothing happens. */
export function destroyDomain(core: Core, domain: Domain): number {
  if (domain.life === 'dead') return -Errno.ESRCH
  if (domain.dying) return 0
  // Not even its cleanups run: they would find memory, slots and grants that are others' by then.
  domain.tasks.discard()
  domain.life = 'dying'
  // Each leaves the list.
  for (let device = domain.devices[0]; device !== undefined; device = domain.devices[0]) {
    quarantine(core, device)
    core.preempt()
  }
  endGrantMaps(core, domain)
  resetPorts(core, domain)
  for (const space of domain.spaces) destroySpace(core, space)
  domain.spaces.clear()
  const { mirror } = domain
  domain.mirror = null
  // Blocked devices do not look at it; the driver completes the invalidation of its tag before it frees a page.
  mirror?.destroy()
  dropFaultRing(core, domain)
  if (core.devices.waits(domain)) core.devices.afterReset(domain, () => freeMemory(core, domain))
  else freeMemory(core, domain)
  return 0
}

/** The last frame was let go: the shell goes, and its id is free. */
export function finishDomain(core: Core, domain: Domain): void {
  if (domain.life === 'dead') return
  domain.life = 'dead'
  domain.grants.destroy()
  core.heap.free(domain.sharedInfo)
  core.domains[domain.domid] = undefined
  core.machine.trace?.domain(core.clock.now, domain.domid, null)
  core.domainChanged()
}

function endGrantMaps(core: Core, domain: Domain): void {
  const { maptrack } = domain
  const batch = new UnmapBatch(core).begin(domain)
  let count = 0
  for (let handle = 0; handle < maptrack.end; handle++) {
    if (!maptrack.valid(handle)) continue
    batch.endAll(handle)
    if (++count % UNMAP_BATCH === 0) {
      batch.finish(null)
      core.preempt()
    }
  }
  batch.finish(null)
}

function freeMemory(core: Core, domain: Domain): void {
  const { frames } = core
  const { p2m, domid } = domain
  for (let pfn = 0; pfn < p2m.pages; pfn++) {
    const index = p2m.frame(pfn)
    if (index >= 0) {
      const kind = p2m.kind(pfn)
      p2m.clear(pfn)
      if (kind === SlotKind.shared || kind === SlotKind.foreign) frames.put(index)
    }
    if (pfn % FRAMES_BETWEEN_CHECKS === 0) core.preempt()
  }
  for (let index = 0; index < frames.frames; index++) {
    if (frames.belongsTo(index, domid)) {
      if (frames.pinned(index)) frames.unpin(index)
      frames.release(index)
    }
    if (index % (64 * FRAMES_BETWEEN_CHECKS) === 0) core.preempt()
  }
  domain.torn = true
  if (frames.owned[domid] === 0) finishDomain(core, domain)
  // Whoever still holds frames of it may be waiting to hear that it is time to let go (domain_kill).
  else core.domainChanged()
}
