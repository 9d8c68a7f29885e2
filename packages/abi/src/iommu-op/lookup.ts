import { pad, struct, u16, u32, u64, u8 } from '@iospace/wire'

/** `lookup` knows no flags. */
export const LOOKUP_FLAGS = Object.freeze({})

/** What an I/O address leads to. */
export const LOOKUP_KIND = Object.freeze({ MEMORY: 0, GRANT: 1, MMIO: 2, RESERVED: 3 })

/**
 * Sub-op 13, `lookup`: what a device of the space reaches at an address. Its owner, or the control domain. `ENOENT` (no
 * space, nothing there), `ERANGE`.
 */
export const iommu_lookup = struct('iommu_lookup', {
  /** IN. */
  size: u32,
  /** IN: 0. */
  flags: u32,
  /** IN: whose space. */
  domid: u16,
  pad0: pad(2),
  /** IN. */
  space: u32,
  /** IN: any byte of a page. */
  io_address: u64,
  /** OUT: the page's frame; 0 for a grant, whose frame is not the caller's to know. */
  gfn: u64,
  /** OUT: first byte of the mapping that the page belongs to. */
  start: u64,
  /** OUT: 4 KiB pages of that mapping. */
  pages: u64,
  /** OUT: ACCESS bits that were asked for. */
  access: u16,
  /** OUT: ACCESS bits that the hardware grants. */
  granted: u16,
  /** OUT: LOOKUP_KIND. */
  kind: u16,
  /** OUT: size of the hardware's page here, log2 of 4 KiB pages. */
  page_order: u8,
  pad1: pad(1),
  /** OUT: for a grant, its handle; else HANDLE_NONE. */
  handle: u32,
  /** OUT: for a grant, its reference; else 0. */
  ref: u32,
  /** OUT: for a grant, who granted; else the space's owner. */
  owner: u16,
  pad2: pad(6),
})
