/** What a space notes for each I/O page: one word. 0: nothing there. */
export const Mark = {
  read: 1,
  write: 2,
  /** First page of a mapping. */
  start: 4,
  /** A granted frame: the payload is a handle of map_grant, or with `device` a frame. */
  grant: 8,
  /** Cleared in the tables, its invalidation not complete: still taken, its references still held. */
  pending: 16,
  /** Taken, nothing mapped: a hardware range, or an address that a call in progress has. */
  reserved: 32,
  /** Device half of a GNTTABOP map. */
  device: 64,
  /** Last page of a mapping. */
  end: 128,
} as const

export const ACCESS_BITS = Mark.read | Mark.write
/** Frame index or handle, 24 bits. */
export const PAYLOAD_SHIFT = 8
export const MAX_PAYLOAD = 2 ** 24
