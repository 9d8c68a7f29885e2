/** Pages that are not of this domain's memory, put into its spare slots. */
import {
  DOMID,
  PAGE_SIZE,
  xen_add_to_physmap,
  xen_add_to_physmap_batch,
  xen_remove_from_physmap,
  XENMAPSPACE,
  XENMEM,
} from '@iospace/abi'
import type { KernelBuffer } from '../memory/kernel-buffer.ts'
import type { KernelMemory } from '../memory/kernel-memory.ts'
import type { Hypercalls } from './hypercalls.ts'

/** Puts shared_info into a spare slot; its page number, or −errno. */
export function mapSharedInfo(hypercalls: Hypercalls, memory: KernelMemory): number {
  const pfn = memory.slots.allocate()
  const value = { domid: DOMID.SELF, size: 0, space: XENMAPSPACE.shared_info, idx: 0n, gpfn: BigInt(pfn) }
  const result = hypercalls.call('memory_op', XENMEM.add_to_physmap, xen_add_to_physmap, value)
  return result < 0 ? result : pfn
}

/**
 * Maps pages `gfns` of domain `domid` for the CPU, side by side: XENMEM_add_to_physmap_batch, gmfn_foreign. For the control domain.
 * A window over them (give it to {@link unmapForeign}), or −errno of the first page that failed, with nothing left mapped.
 */
export function mapForeign(
  hypercalls: Hypercalls,
  memory: KernelMemory,
  domid: number,
  gfns: readonly number[],
): KernelBuffer | number {
  const count = gfns.length
  const first = memory.slots.allocate(count)
  const lists = first < 0 ? null : memory.allocate(count * 20)
  if (lists === null) {
    if (first >= 0) memory.slots.free(first, count)
    return -12
  }
  // Each list starts where its elements never cross a page edge.
  gfns.forEach((gfn, i) => {
    lists.write32(i * 8, gfn)
    lists.write32(count * 8 + i * 8, first + i)
  })
  const value = {
    domid: DOMID.SELF,
    space: XENMAPSPACE.gmfn_foreign,
    size: count,
    foreign_domid: domid,
    idxs: BigInt(lists.address()),
    gpfns: BigInt(lists.address(count * 8)),
    errs: BigInt(lists.address(count * 16)),
  }
  let result = hypercalls.call('memory_op', XENMEM.add_to_physmap_batch, xen_add_to_physmap_batch, value)
  if (result >= 0) {
    for (let i = 0; i < count && result >= 0; i++) result = lists.read32(count * 16 + i * 4) | 0
  }
  memory.free(lists)
  const window = memory.window(first, count * PAGE_SIZE)
  if (result >= 0) return window
  unmapForeign(hypercalls, memory, window)
  return result
}

/** Empties the slots of a window of {@link mapForeign} and gives them back. */
export function unmapForeign(hypercalls: Hypercalls, memory: KernelMemory, window: KernelBuffer): void {
  for (let pfn = window.pfn; pfn < window.pfn + window.pages; pfn++) {
    if (memory.platform.frameOffset(pfn) >= 0) {
      hypercalls.call('memory_op', XENMEM.remove_from_physmap, xen_remove_from_physmap, {
        domid: DOMID.SELF,
        gpfn: BigInt(pfn),
      })
    }
  }
  memory.slots.free(window.pfn, window.pages)
}
