/** Sub-operations of `grant_table_op(cmd, guest pointer to array, count)`. Source: xen/include/public/grant_table.h. */
export const GNTTABOP = Object.freeze({
  map_grant_ref: 0,
  unmap_grant_ref: 1,
  setup_table: 2,
  dump_table: 3,
  transfer: 4,
  copy: 5,
  query_size: 6,
  unmap_and_replace: 7,
  set_version: 8,
  get_status_frames: 9,
  get_version: 10,
  swap_grant_ref: 11,
  cache_flush: 12,
})

/** Flags of map_grant_ref. Bits 31–16 belong to the guest. */
export const GNTMAP = Object.freeze({
  device_map: 1 << 0,
  host_map: 1 << 1,
  readonly: 1 << 2,
  application_map: 1 << 3,
  contains_pte: 1 << 4,
})

/** Flags of copy: which side is named by a grant reference. */
export const GNTCOPY = Object.freeze({ source_gref: 1 << 0, dest_gref: 1 << 1 })

/** Status of one element. The hypercall itself returns 0 even when every element failed. */
export const GNTST = Object.freeze({
  okay: 0,
  general_error: -1,
  bad_domain: -2,
  bad_gntref: -3,
  bad_handle: -4,
  bad_virt_addr: -5,
  bad_dev_addr: -6,
  /** No I/O address left for the mapping. */
  no_device_space: -7,
  permission_denied: -8,
  bad_page: -9,
  bad_copy_arg: -10,
  address_too_big: -11,
  eagain: -12,
  /** No handle left. */
  no_space: -13,
})

/** The name of a status. */
export type GntstName = keyof typeof GNTST

const names = new Map<number, GntstName>(Object.entries(GNTST).map(([name, value]) => [value, name as GntstName]))

/** The name of a grant status; `undefined` for other numbers. */
export function gntstName(status: number): GntstName | undefined {
  return names.get(status)
}
