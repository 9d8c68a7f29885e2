import { struct, u32, u64 } from '@iospace/wire'

/**
 * A list: `count` elements, `stride` bytes apart, from the guest pointer `array`. stride is at least the size of the
 * version 1 element (`EINVAL`); bytes of an element beyond what the hypervisor knows must be zero (`E2BIG`). All IN.
 */
export const iommu_list = struct('iommu_list', { array: u64, count: u32, stride: u32 })

/** Flags with one meaning in every sub-op that has them; each sub-op's own table says which it knows. */
export const IOMMU_FLAG = Object.freeze({
  /** Try every element; `done` counts successes and the call returns 0. */
  CONTINUE: 1 << 0,
  /** Everything that can fail is done first; at most max_atomic elements. */
  ALL_OR_NOTHING: 1 << 1,
  /** The whole space, instead of a list or a ticket. */
  ALL: 1 << 2,
  /** Leave the invalidation pending and return a ticket. */
  NO_FLUSH: 1 << 4,
})

/**
 * What a device may do with a frame. A mapping is made with READ, WRITE or both; MMIO says that the frame is a
 * device's, not memory.
 */
export const ACCESS = Object.freeze({ READ: 1, WRITE: 2, MMIO: 4 })

/**
 * Which accesses hardware can express, as a mask: bit n is set when `access` n (READ, WRITE, READ|WRITE) can be granted
 * exactly. VT-d has all three, TCE no write-only, GART only both.
 */
export const ACCESS_KIND = Object.freeze({
  READ: 1 << ACCESS.READ,
  WRITE: 1 << ACCESS.WRITE,
  READ_WRITE: 1 << (ACCESS.READ | ACCESS.WRITE),
})

/** Which IOMMU a device is behind. */
export const HARDWARE_KIND = Object.freeze({ NONE: 0, VTD: 1, AMDVI: 2, CALGARY: 3, GART: 4 })

/** What default space 0 is: every frame of the domain at its own address, or nothing until it is mapped. */
export const DEFAULT_KIND = Object.freeze({ MIRROR: 0, EMPTY: 1 })
