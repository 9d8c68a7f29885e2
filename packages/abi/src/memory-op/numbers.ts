/**
 * Sub-operations of `memory_op`. `increase_reservation`, `decrease_reservation` and `populate_physmap` return the
 * **count of extents done**, not an errno. Source: xen/include/public/memory.h.
 */
export const XENMEM = Object.freeze({
  increase_reservation: 0,
  decrease_reservation: 1,
  maximum_ram_page: 2,
  current_reservation: 3,
  maximum_reservation: 4,
  machphys_mfn_list: 5,
  populate_physmap: 6,
  add_to_physmap: 7,
  memory_map: 9,
  machine_memory_map: 10,
  exchange: 11,
  machphys_mapping: 12,
  set_memory_map: 13,
  maximum_gpfn: 14,
  remove_from_physmap: 15,
  add_to_physmap_batch: 23,
  claim_pages: 24,
  reserved_device_memory_map: 27,
  acquire_resource: 28,
})

/** Bits of `mem_flags`; its low byte is the number of address bits that a frame may need (0: any). */
export const XENMEMF = Object.freeze({ populate_on_demand: 1 << 16, exact_node_request: 1 << 17, vnode: 1 << 18 })

/** What `add_to_physmap` puts at a frame number. */
export const XENMAPSPACE = Object.freeze({
  shared_info: 0,
  /** `idx` is a grant frame. */
  grant_table: 1,
  gmfn: 2,
  gmfn_range: 3,
  gmfn_foreign: 4,
  dev_mmio: 5,
})

/** What `acquire_resource` names. */
export const XENMEM_RESOURCE = Object.freeze({ ioreq_server: 0, grant_table: 1, vmtrace_buf: 2 })
