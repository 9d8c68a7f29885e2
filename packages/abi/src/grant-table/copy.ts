import { i16, pad, struct, u16, u64 } from '@iospace/wire'

/** One side of a copy: a grant reference (low word of u) or a frame (u), of domid, and a byte offset in that frame. */
export const gnttab_copy_ptr = struct('gnttab_copy_ptr', { u: u64, domid: u16, offset: u16, pad0: pad(4) })

/** `copy`: len bytes from source to dest, neither crossing its page. OUT status. */
export const gnttab_copy = struct('gnttab_copy', {
  source: gnttab_copy_ptr,
  dest: gnttab_copy_ptr,
  len: u16,
  flags: u16,
  status: i16,
  pad0: pad(2),
})
