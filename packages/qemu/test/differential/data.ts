/** The bytes that transfers move: the same on both boards at the start, and compared after each store. */
import { Random } from '@iospace/machine'
import type { BoardMemory } from '../boards/index.ts'
import { ARENA, ARENA_FRAMES, DATA, LOW_RAM, MAX_LENGTH, PAGE } from './memory-map.ts'
import { READBACK, RUN_BYTES, STORE_AT, TABLES } from './memory-map.ts'

/** Byte of RAM that nobody wrote: not the zeros of a blocked read. */
const UNTOUCHED = 0x5a
/** Everything that an episode can have written to, but for queues, which recoveries write to. */
const REGIONS = [...LOW_RAM, [TABLES * PAGE, (ARENA + ARENA_FRAMES) * PAGE] as const]

export class Data {
  /** What the data frames hold at a fresh start. */
  readonly fresh = new Uint8Array(DATA.length * RUN_BYTES)
  /** What our board's hold after the last store. */
  readonly #before = new Uint8Array(DATA.length * RUN_BYTES)
  readonly #ours: BoardMemory
  readonly #theirs: BoardMemory

  constructor(ours: BoardMemory, theirs: BoardMemory) {
    this.#ours = ours
    this.#theirs = theirs
    const random = new Random(1)
    for (let i = 0; i < this.fresh.length; i++) this.fresh[i] = random.below(256)
  }

  /** Gives both boards memory without a past; then they are loaded with {@link fresh}. */
  restart(): void {
    for (const memory of [this.#ours, this.#theirs])
      for (const [from, to] of LOW_RAM) memory.fill(from, UNTOUCHED, to - from)
    this.#before.set(this.fresh)
  }

  /** What a device stores from `at` of its buffer. */
  stored(requester: number, at: number, length: number): Uint8Array {
    const first = requester + at - STORE_AT
    return this.fresh.subarray(first, first + length)
  }

  /** Whether both boards have the same wherever ours changed since the last call, and in `length` bytes at `address`. */
  sameStore(address: number, length: number): boolean {
    for (const [i, first] of DATA.entries()) {
      const now = this.#ours.read(first * PAGE, RUN_BYTES)
      const before = this.#before.subarray(i * RUN_BYTES, (i + 1) * RUN_BYTES)
      if (Buffer.compare(now, before) === 0) continue
      const from = now.findIndex((byte, at) => byte !== before[at])
      const to = now.findLastIndex((byte, at) => byte !== before[at]) + 1
      before.set(now)
      if (!this.#same(first * PAGE + from, to - from)) return false
    }
    return address < 0 || address + length > this.#ours.bytes || this.#same(address, length)
  }

  /** Where memory differs first, tables and everything that transfers can have reached included; −1 where it does not. */
  difference(): number {
    for (const [from, to] of REGIONS) {
      const ours = this.#ours.read(from, to - from)
      const theirs = this.#theirs.read(from, to - from)
      if (Buffer.compare(ours, theirs) !== 0) return from + ours.findIndex((byte, i) => byte !== theirs[i])
    }
    return -1
  }

  /** Gives QEMU's board what ours has. */
  copy(): void {
    for (const first of DATA) this.#theirs.write(first * PAGE, this.#ours.read(first * PAGE, RUN_BYTES))
    this.#theirs.write(READBACK * PAGE, this.#ours.read(READBACK * PAGE, MAX_LENGTH))
  }

  #same(address: number, length: number): boolean {
    return Buffer.compare(this.#ours.read(address, length), this.#theirs.read(address, length)) === 0
  }
}
