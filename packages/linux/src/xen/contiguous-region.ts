/** Memory in one piece of the machine (Linux arch/x86/xen/mmu_pv.c, xen_create_contiguous_region). */
import { DOMID, PAGE_SIZE, xen_memory_exchange, xen_memory_reservation, XENMEM } from '@iospace/abi'
import type { KernelMemory } from '../memory/kernel-memory.ts'
import type { Hypercalls } from './hypercalls.ts'

/** Bytes of a frame number. */
const ENTRY = 8

/**
 * Exchanges the frames of the 2^`order` pages from `pfn` on for as many that lie side by side below 2^`addressBits` bytes in the machine.
 * What was in them is lost. False, with nothing changed, where the hypervisor has none, or something else still refers to the pages.
 */
export function makeContiguous(
  hypercalls: Hypercalls,
  memory: KernelMemory,
  pfn: number,
  order: number,
  addressBits: number,
): boolean {
  const pages = 2 ** order
  const list = memory.allocate((pages + 1) * ENTRY)
  if (list === null) return false
  for (let i = 0; i < pages; i++) {
    list.write32(i * ENTRY, memory.platform.machineFrame(pfn + i))
    list.write32(i * ENTRY + 4, 0)
  }
  list.write32(pages * ENTRY, pfn)
  list.write32(pages * ENTRY + 4, 0)
  const zero = { ...xen_memory_reservation.zero(), domid: DOMID.SELF }
  const value = {
    in: { ...zero, extent_start: BigInt(list.address()), nr_extents: BigInt(pages) },
    out: {
      ...zero,
      extent_start: BigInt(list.address(pages * ENTRY)),
      nr_extents: 1n,
      extent_order: order,
      mem_flags: addressBits,
    },
    nr_exchanged: 0n,
  }
  const result = hypercalls.call('memory_op', XENMEM.exchange, xen_memory_exchange, value)
  memory.free(list)
  return result === 0
}

/** Whether `pages` pages from `pfn` on lie side by side, below 2^`addressBits` bytes. */
export function isContiguous(memory: KernelMemory, pfn: number, pages: number, addressBits: number): boolean {
  const first = memory.platform.machineFrame(pfn)
  for (let i = 1; i < pages; i++) if (memory.platform.machineFrame(pfn + i) !== first + i) return false
  return (first + pages) * PAGE_SIZE <= 2 ** addressBits
}
