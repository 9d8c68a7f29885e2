import { pad, struct, u16, u32, u64 } from '@iospace/wire'

/**
 * Extents of a domain's memory: extent_start is a guest pointer to u64 frame numbers (IN for populate and decrease, OUT
 * for what was allocated), extent_order log2 of frames per extent. All IN but the array. Self, or the control domain
 * for another.
 */
export const xen_memory_reservation = struct('xen_memory_reservation', {
  extent_start: u64,
  nr_extents: u64,
  extent_order: u32,
  mem_flags: u32,
  domid: u16,
  pad0: pad(6),
})

/**
 * `exchange`: gives `in`, gets `out`, both of one domain. nr_exchanged IN 0, OUT the extents of `in` that were
 * exchanged.
 */
export const xen_memory_exchange = struct('xen_memory_exchange', {
  in: xen_memory_reservation,
  out: xen_memory_reservation,
  nr_exchanged: u64,
})
