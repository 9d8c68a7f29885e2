import { pad, struct, u16, u32, u64 } from '@iospace/wire'

/**
 * The control page of a fault ring. Reporting: (1) the hypervisor reads consumer once; a distance to producer beyond
 * the ring counts as full; (2) full: it adds to lost and stops; (3) it writes the record at producer modulo the ring;
 * (4) write barrier; (5) producer + 1; (6) event. Reading: (7) the guest reads producer; (8) read barrier; (9) copies
 * the records; (10) writes consumer. Each side's words have a cache line of their own.
 */
export const iommu_fault_control = struct('iommu_fault_control', {
  /** Hypervisor: records written so far, modulo 2^32. */
  producer: u32,
  /** Hypervisor: records that found the ring full, modulo 2^32. */
  lost: u32,
  pad0: pad(56),
  /** Guest: records read so far, modulo 2^32. Used modulo the ring and for distance only. */
  consumer: u32,
  pad1: pad(60),
})

/** One fault. 64 to a page. */
export const iommu_fault_record = struct('iommu_fault_record', {
  /** Counts the domain's records, lost ones included, from 0. */
  sequence: u32,
  /** FAULT_REASON. */
  reason: u16,
  /** The hardware's own code; 0 when it has none. */
  hw_reason: u16,
  /** FAULT_FLAGS. */
  flags: u16,
  /** The domain whose device it was. */
  domid: u16,
  /** Virtual sbdf. */
  device: u32,
  /** The space it was attached to, or SPACE_NONE. */
  space: u32,
  /** For a revoked grant: the holder's handle; else HANDLE_NONE. */
  handle: u32,
  /** First byte of the page, or of the request where hardware tells; valid with ADDRESS_VALID. */
  io_address: u64,
  /** System time, ns. */
  time: u64,
  /** The mapping that was last at the address; 0: none. For explanations. */
  cookie: u64,
  pad0: pad(16),
})

/** Records to a page. */
export const FAULT_RECORDS_PER_PAGE = 64

/** Why, in words that every IOMMU can be put into. */
export const FAULT_REASON = Object.freeze({
  UNKNOWN: 0,
  /** Nothing is mapped at the address. */
  NOT_MAPPED: 1,
  /** Mapped, but not for reading. */
  NOT_READABLE: 2,
  /** Mapped, but not for writing. */
  NOT_WRITABLE: 3,
  /** The address is wider than the space or the hardware. */
  OUT_OF_RANGE: 4,
  /** The device is attached to nothing. */
  BLOCKED: 5,
  /** A table entry with reserved bits set, or one that could not be read. */
  BAD_TABLE: 6,
  /** The kind of request is not allowed: pre-translated, atomic, a reserved message. */
  BAD_REQUEST: 7,
  /** An interrupt that the device may not send. */
  INTERRUPT: 8,
  /** Not a fault of a device: the granter took back a grant that this domain had mapped. */
  REVOKED: 9,
})

/** Flags of a record. */
export const FAULT_FLAGS = Object.freeze({
  READ: 1 << 0,
  WRITE: 1 << 1,
  ADDRESS_VALID: 1 << 2,
  /** More faults of this device were suppressed after it. */
  REPEATED: 1 << 3,
  /** The device is exact, not just some member of its group. */
  EXACT_REQUESTER: 1 << 4,
  /** The hardware lost records before this one. */
  LOST_BEFORE: 1 << 5,
  REVOKED: 1 << 6,
})
