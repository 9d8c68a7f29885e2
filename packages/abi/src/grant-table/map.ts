import { i16, pad, struct, u16, u32, u64 } from '@iospace/wire'

/**
 * `map_grant_ref`: maps the frame that `dom` granted by `ref`. IN host_addr (a guest pointer, with `GNTMAP.host_map`),
 * flags, ref, dom; OUT status, handle and, with `GNTMAP.device_map`, dev_bus_addr: the byte address at which devices of
 * the caller reach the frame.
 */
export const gnttab_map_grant_ref = struct('gnttab_map_grant_ref', {
  host_addr: u64,
  flags: u32,
  ref: u32,
  dom: u16,
  status: i16,
  handle: u32,
  dev_bus_addr: u64,
})

/**
 * `unmap_grant_ref`: ends a mapping by handle. host_addr and dev_bus_addr say which halves end; 0 leaves a half alone.
 * OUT status.
 */
export const gnttab_unmap_grant_ref = struct('gnttab_unmap_grant_ref', {
  host_addr: u64,
  dev_bus_addr: u64,
  handle: u32,
  status: i16,
  pad0: pad(2),
})

/**
 * `unmap_and_replace`: ends the host mapping at host_addr and moves the page of new_addr there, in one step. OUT
 * status.
 */
export const gnttab_unmap_and_replace = struct('gnttab_unmap_and_replace', {
  host_addr: u64,
  new_addr: u64,
  handle: u32,
  status: i16,
  pad0: pad(2),
})
