/** Frames set aside for an IOMMU driver's tables. */
import { StateError } from '@iospace/wire'

export interface TablePages {
  /** First frame and number of frames of RAM that the driver may have. */
  readonly first: number
  readonly count: number
}

export class FrameReserve {
  /** Ascending. */
  readonly #free: number[]
  readonly #taken = new Set<number>()

  constructor({ first, count }: TablePages) {
    this.#free = Array.from({ length: count }, (_, i) => first + i)
  }

  /** The first of `count` consecutive frames; −1 when there are none. Their content is as it was. */
  take(count = 1): number {
    const free = this.#free
    const at = free.findIndex((mfn, i) => free[i + count - 1] === mfn + count - 1)
    if (at < 0) return -1
    const run = free.splice(at, count)
    for (const mfn of run) this.#taken.add(mfn)
    return run[0]!
  }

  /** Takes a frame back. StateError for one that is not taken. */
  give(mfn: number): void {
    if (!this.#taken.delete(mfn)) throw new StateError(`frame ${mfn}`, 'given back though it was not taken')
    this.#free.push(mfn)
    this.#free.sort((a, b) => a - b)
  }
}
