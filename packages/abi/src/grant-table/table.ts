import { i16, pad, struct, u16, u32, u64 } from '@iospace/wire'

/**
 * `setup_table`: grows dom's table to nr_frames; frame_list is a guest pointer to as many u64 gfns, OUT. OUT status.
 */
export const gnttab_setup_table = struct('gnttab_setup_table', {
  dom: u16,
  pad0: pad(2),
  nr_frames: u32,
  status: i16,
  pad1: pad(6),
  frame_list: u64,
})

/** `query_size`: IN dom, OUT nr_frames in use, max_nr_frames, status. */
export const gnttab_query_size = struct('gnttab_query_size', {
  dom: u16,
  pad0: pad(2),
  nr_frames: u32,
  max_nr_frames: u32,
  status: i16,
  pad1: pad(2),
})

/** `set_version`: IN the wanted version, OUT the one in force. */
export const gnttab_set_version = struct('gnttab_set_version', { version: u32 })

/** `get_version`: IN dom, OUT version. */
export const gnttab_get_version = struct('gnttab_get_version', { dom: u16, pad: pad(2), version: u32 })

/** `transfer`: gives frame mfn to domid, which accepted by ref. OUT status. */
export const gnttab_transfer = struct('gnttab_transfer', {
  mfn: u64,
  domid: u16,
  pad0: pad(2),
  ref: u32,
  status: i16,
  pad1: pad(6),
})

/** `swap_grant_ref`: exchanges two entries of the caller's table. OUT status. */
export const gnttab_swap_grant_ref = struct('gnttab_swap_grant_ref', {
  ref_a: u32,
  ref_b: u32,
  status: i16,
  pad0: pad(2),
})
