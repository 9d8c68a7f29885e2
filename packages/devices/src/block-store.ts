/**
 * Where a storage device keeps its bytes: a port that the lab or the command line implements over a file. Everything is synchronous,
 * and failures are values, because a device turns them into status codes of its own.
 */

/** What a store answers: 0, or a negative reason. */
export const StoreStatus = {
  ok: 0,
  /** The store ends before the range does: the file shrank after the store was made. */
  short: -1,
  /** The medium failed. */
  io: -2,
  /** No room is left for the bytes. */
  full: -3,
  readOnly: -4,
} as const

/** Bytes at offsets from 0 to `bytes`. A device never asks outside that range. Results are {@link StoreStatus}. */
export interface BlockStore {
  /** True length, which need not be a multiple of a block; read once, when a device is made. */
  readonly bytes: number
  /** Writes are refused with {@link StoreStatus.readOnly}. */
  readonly readOnly: boolean
  /** Copies `length` bytes at `offset` of the store into `target` at `at`. After a failure the target's bytes mean nothing. */
  read(offset: number, target: Uint8Array, at: number, length: number): number
  /** Copies `length` bytes of `source` at `at` to `offset` of the store. After a failure the range holds old, new or mixed bytes. */
  write(offset: number, source: Uint8Array, at: number, length: number): number
  /** Returns ok once everything written before is where a power loss does not reach it. */
  flush(): number
}

/** A store in memory, for examples and tests. Cutting `contents` short afterwards makes it a store that shrank. */
export class MemoryBlockStore implements BlockStore {
  readonly bytes: number
  readonly readOnly: boolean
  contents: Uint8Array
  /** Flushes asked for. */
  flushes = 0

  constructor(contents: Uint8Array, options: { readonly readOnly?: boolean } = {}) {
    this.contents = contents
    this.bytes = contents.length
    this.readOnly = options.readOnly ?? false
  }

  read(offset: number, target: Uint8Array, at: number, length: number): number {
    if (offset + length > this.contents.length) return StoreStatus.short
    target.set(this.contents.subarray(offset, offset + length), at)
    return StoreStatus.ok
  }

  write(offset: number, source: Uint8Array, at: number, length: number): number {
    if (this.readOnly) return StoreStatus.readOnly
    if (offset + length > this.contents.length) return StoreStatus.full
    this.contents.set(source.subarray(at, at + length), offset)
    return StoreStatus.ok
  }

  flush(): number {
    this.flushes++
    return StoreStatus.ok
  }
}
