import { array, pad, struct, u16, u32, u64 } from '@iospace/wire'

/** Flags of create_space. */
export const CREATE_SPACE_FLAGS = Object.freeze({
  /** Unmaps may leave invalidations pending by default. `EOPNOTSUPP` when the limits forbid it. */
  DEFERRED: 1 << 0,
  /** Reserve table pages for max_mappings in the worst case, so that map never answers ENOMEM below that. */
  FORWARD_PROGRESS: 1 << 1,
  /** Take window and page sizes as given, for a space that will move to other hardware. */
  PORTABLE: 1 << 2,
})

/** Most devices that create_space takes at once. */
export const CREATE_SPACE_DEVICES = 16

/**
 * Sub-op 3, `create_space`: an empty space that the named devices can be attached to. What it returns is the
 * intersection of what they can do, and fixed for the life of the space. Any domain for itself, the control domain for
 * another. `EINVAL` (no or too many devices, an inverted window), `ENODEV`, `ERANGE` (a portable window that the
 * hardware does not reach), `ENOSPC` (no id or no table left), `ENOMEM`.
 */
export const iommu_create_space = struct('iommu_create_space', {
  /** IN. */
  size: u32,
  /** IN: CREATE_SPACE_FLAGS. */
  flags: u32,
  /** IN: who gets the space. */
  domid: u16,
  pad0: pad(2),
  /** OUT: its id, never reissued. */
  space: u32,
  /** IN: devices named, 1 to 16. */
  device_count: u32,
  /** IN: for FORWARD_PROGRESS: 4 KiB mappings to reserve for; else 0. */
  max_mappings: u32,
  /** IN: first byte of the window, OUT: of the window granted. */
  window_start: u64,
  /** IN: last byte of the window (0: as wide as the hardware), OUT: of the window granted. */
  window_end: u64,
  /** IN: with PORTABLE the sizes to promise (else 0), OUT: page sizes, bit n: 2^n bytes. */
  page_sizes: u64,
  /** OUT: bits. */
  address_width: u32,
  /** OUT: ACCESS_KIND bits. */
  access_kinds: u32,
  /** IN: virtual sbdfs; entries from device_count on are 0. */
  devices: array(u32, CREATE_SPACE_DEVICES),
})
