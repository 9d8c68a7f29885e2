/** Sub-operations of `iommu_op(subop, guest pointer to struct)`. Every struct starts size u32, flags u32, domid u16. */
export const IOMMU_OP = Object.freeze({
  query: 0,
  query_device: 1,
  query_ranges: 2,
  create_space: 3,
  destroy_space: 4,
  attach_device: 5,
  detach_device: 6,
  map: 7,
  unmap: 8,
  flush: 9,
  map_grant: 10,
  unmap_grant: 11,
  revoke_grant: 12,
  lookup: 13,
  set_fault_ring: 14,
  dirty_start: 15,
  dirty_read: 16,
  dirty_stop: 17,
  save_space: 18,
  restore_space: 19,
  set_limits: 20,
  name_device: 21,
  set_default: 22,
})

/** The name of a sub-op. */
export type IommuOpName = keyof typeof IOMMU_OP

/** Reserved and refused (`EOPNOTSUPP`) until present. */
export const IOMMU_OP_RESERVED = Object.freeze({ replace_frame: 23 })

/** What `query` answers in `magic`: "iosp" in ASCII, most significant byte first. */
export const IOMMU_MAGIC = 0x696f_7370

/** The version of this ABI. Structs and list elements only grow; a new meaning of an old field is a new version. */
export const IOMMU_ABI_VERSION = 1

/** The first fields of every sub-op's struct, by u32 word: what a dispatcher reads before it knows the sub-op. */
export const IOMMU_HEADER_WORDS = Object.freeze({ size: 0, flags: 1, domid: 2 })

/** Default space of a domain: its id. */
export const SPACE_DEFAULT = 0
/** No space. */
export const SPACE_NONE = 0xffff_ffff
/** No grant handle. */
export const HANDLE_NONE = 0xffff_ffff
