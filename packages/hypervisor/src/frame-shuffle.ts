/**
 * Links free frames into a list in an order that the seed chooses, without memory of its own: a full-cycle congruential sequence
 * over the next power of two (Hull and Dobell 1962), each number mixed by a bijection, numbers past the end skipped.
 */
import type { Random } from '@iospace/machine'

/** Doubly links `frames` entries from `first`: `previous` and `next` hold index + 1, 0 at the ends. Returns the head's index + 1. */
export function threadShuffled(previous: Int32Array, next: Int32Array, first: number, frames: number, random: Random): number {
  if (frames === 0) return 0
  const bits = Math.max(4, 32 - Math.clz32(frames - 1))
  const mask = 2 ** bits - 1
  const multiplier = (random.next() & mask & ~7) | 5
  const increment = (random.next() & mask) | 1
  const shift = bits >> 1
  let x = random.next() & mask
  let head = 0
  let last = 0
  for (let step = 0; step <= mask; step++) {
    x = (Math.imul(x, multiplier) + increment) & mask
    const mixed = Math.imul(x ^ (x >>> shift), 0x2545f491) & mask
    const at = mixed ^ (mixed >>> shift)
    if (at >= frames) continue
    const link = first + at + 1
    if (last === 0) head = link
    else next[last - 1] = link
    previous[link - 1] = last
    last = link
  }
  next[last - 1] = 0
  return head
}
