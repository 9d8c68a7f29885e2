/**
 * Memory in one piece for tables that need it (a Calgary table takes up to 8 MiB): kept at boot, because later the frames of domains lie
 * everywhere. First fit, each run aligned to its size.
 */
import { InvariantError } from '@iospace/wire'

export class RunReserve {
  /** First frame index, and how many there are. */
  readonly first: number
  readonly frames: number
  readonly #used: Uint8Array

  constructor(first: number, frames: number) {
    this.first = first
    this.frames = frames
    this.#used = new Uint8Array(frames)
  }

  has(index: number): boolean {
    return index >= this.first && index < this.first + this.frames
  }

  /** The first of 2^`order` frames, or −1. */
  allocate(order: number): number {
    const pages = 2 ** order
    const used = this.#used
    for (let at = 0; at + pages <= used.length; at += pages) {
      let free = 0
      while (free < pages && used[at + free] === 0) free++
      if (free < pages) continue
      used.fill(1, at, at + pages)
      return this.first + at
    }
    return -1
  }

  /** Gives one frame back. */
  free(index: number): void {
    if (this.#used[index - this.first] !== 1)
      throw new InvariantError('a frame is freed once', `frame index ${index} is free`)
    this.#used[index - this.first] = 0
  }
}
