import { pad, struct, u16, u32, u64 } from '@iospace/wire'

/** `add_to_physmap`: puts something (space, idx) at gpfn; `size` pages for gmfn_range. All IN. */
export const xen_add_to_physmap = struct('xen_add_to_physmap', {
  domid: u16,
  size: u16,
  space: u32,
  idx: u64,
  gpfn: u64,
})

/**
 * `add_to_physmap_batch`: `size` pages; idxs, gpfns (u64 each) IN and errs (i32 each) OUT are guest pointers; extra is
 * the foreign domain.
 */
export const xen_add_to_physmap_batch = struct('xen_add_to_physmap_batch', {
  domid: u16,
  space: u16,
  size: u16,
  /** For gmfn_foreign: the domain whose frames idxs name. */
  foreign_domid: u16,
  idxs: u64,
  gpfns: u64,
  errs: u64,
})

/** `remove_from_physmap`: leaves gpfn empty. All IN. */
export const xen_remove_from_physmap = struct('xen_remove_from_physmap', { domid: u16, pad0: pad(6), gpfn: u64 })

/**
 * `memory_map`: buffer is a guest pointer to nr_entries E820 entries (20 bytes each); nr_entries OUT what was written.
 */
export const xen_memory_map = struct('xen_memory_map', { nr_entries: u32, pad0: pad(4), buffer: u64 })

/** `set_memory_map`: the same for another domain. Control domain. */
export const xen_foreign_memory_map = struct('xen_foreign_memory_map', {
  domid: u16,
  pad0: pad(6),
  map: xen_memory_map,
})

/** `machphys_mapping`: where the machine-to-physical table lies, all OUT. */
export const xen_machphys_mapping = struct('xen_machphys_mapping', { v_start: u64, v_end: u64, max_mfn: u64 })
