/** The newest errors, for the Error Information log page (NVMe 1.4 section 5.14.1.1). */
import { errorLogEntry } from './spec/logs.ts'

/** Entries kept; ELPE is one less. */
export const ERROR_LOG_ENTRIES = 8

type Entry = ReturnType<typeof errorLogEntry.zero>

export class ErrorLog {
  #count = 0n
  readonly #newest: Entry[] = []

  /** Errors since power-on. */
  get count(): bigint {
    return this.#count
  }

  /** Notes an error of the command `cmdid` of queue `sqid`, or of a queue (`cmdid` 0xFFFF). */
  add(sqid: number, cmdid: number, status: number, nsid: number, lba: bigint): void {
    this.#count++
    const entry = errorLogEntry.zero()
    Object.assign(entry, { error_count: this.#count, sqid, cmdid, status_field: (status << 1) & 0xffff })
    // Which byte of the command was wrong is not reported.
    Object.assign(entry, { parm_error_location: 0xffff, nsid, lba })
    this.#newest.unshift(entry)
    this.#newest.length = Math.min(this.#newest.length, ERROR_LOG_ENTRIES)
  }

  /** Writes the log page at `at`; entries that do not exist stay as they are. */
  write(view: DataView, at: number): void {
    for (const [i, entry] of this.#newest.entries()) errorLogEntry.write(view, at + i * errorLogEntry.size, entry)
  }

  reset(): void {
    this.#newest.length = 0
  }
}
