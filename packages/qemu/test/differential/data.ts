/** The bytes that transfers move: the same on both boards at the start, and compared after each store. */
import { Random } from '@iospace/machine'
import type { BoardMemory } from '../boards/index.ts'
import { DATA, PAGE, RUN_BYTES, STORE_AT } from './world.ts'

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

  /** Both boards were loaded with {@link fresh}. */
  restart(): void {
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

  /** Whether all data frames are the same. */
  same(): boolean {
    return DATA.every((first) => this.#same(first * PAGE, RUN_BYTES))
  }

  /** Gives QEMU's board what ours has. */
  copy(): void {
    for (const first of DATA) this.#theirs.write(first * PAGE, this.#ours.read(first * PAGE, RUN_BYTES))
  }

  #same(address: number, length: number): boolean {
    return Buffer.compare(this.#ours.read(address, length), this.#theirs.read(address, length)) === 0
  }
}
