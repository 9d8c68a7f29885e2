import { i32, pad, struct, u16, u32, u64, u8 } from '@iospace/wire'
import { IOMMU_FLAG, iommu_list } from './common.ts'

/** Flags of map. */
export const MAP_FLAGS = Object.freeze({ ALL_OR_NOTHING: IOMMU_FLAG.ALL_OR_NOTHING })

/** Flags of one element of map. */
export const MAP_ELEMENT_FLAGS = Object.freeze({
  /** The hypervisor picks the address; io_address is OUT. Never page 0, never an end that wraps. */
  ANY: 1 << 0,
  /** Directly behind the element before it: the chain is one allocation and one mapping. */
  FOLLOWS: 1 << 1,
  /** page_order is a demand, not a wish. */
  EXACT_SIZE: 1 << 2,
  /** Grant more access where the hardware cannot express less. */
  WIDEN: 1 << 3,
})

/**
 * Sub-op 7, `map`: a list of mappings into a space. Its owner, or the control domain. Errors per element, in `status`
 * and, for the first that fails, as the result: `EINVAL`, `EOPNOTSUPP`, `EOVERFLOW`, `ERANGE`, `EADDRNOTAVAIL`,
 * `EADDRINUSE`, `ENXIO`, `EACCES`, `ENOSPC`, `ENOBUFS`, `ENOMEM`, `EIO`. For the call: `EFAULT`, `EPERM` (a mirror),
 * `ENOENT`, `E2BIG`.
 */
export const iommu_map = struct('iommu_map', {
  /** IN. */
  size: u32,
  /** IN: MAP_FLAGS. */
  flags: u32,
  /** IN: whose space; the frames are that domain's. */
  domid: u16,
  pad0: pad(2),
  /** IN. */
  space: u32,
  /** OUT: elements that took effect. */
  done: u32,
  pad1: pad(4),
  /** IN: of iommu_map_element. */
  list: iommu_list,
})

/** One mapping of `map`: pages × 4 KiB from frame gfn at io_address. */
export const iommu_map_element = struct('iommu_map_element', {
  /** IN: first byte, a multiple of 4 KiB; OUT with ANY or FOLLOWS. */
  io_address: u64,
  /** IN: first frame. */
  gfn: u64,
  /** IN: 4 KiB pages, at least 1. */
  pages: u64,
  /** IN: highest I/O byte allowed; 0: end of the window. */
  limit: u64,
  /** IN: ACCESS bits. */
  access: u16,
  /** IN: MAP_ELEMENT_FLAGS. */
  flags: u16,
  /** IN: log2 of the alignment of io_address, for ANY; 0: a page. */
  align: u8,
  /** IN: log2 of a boundary that the mapping must not cross, for ANY; 0: none. */
  boundary: u8,
  /** IN: wished page size, log2 of 4 KiB pages; OUT: the smallest page used. */
  page_order: u8,
  pad0: pad(1),
  /** OUT: 0 or a negative errno. */
  status: i32,
  /** OUT: ACCESS bits that the hardware really grants. */
  granted: u16,
  pad1: pad(2),
})
