/** What a back-end has served. */
export class BlkbackStats {
  reads = 0
  writes = 0
  flushes = 0
  readBytes = 0
  writtenBytes = 0
  /** Requests answered with an error, and with “not supported”. */
  errors = 0
  unsupported = 0
  /** Connections ended because the front-end broke the ring's rules. */
  violations = 0
}
