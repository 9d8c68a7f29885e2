/**
 * What a unit does with requests and commands, in the plainest form: the specification, with caches that are never full, and wherever a
 * deviation is switched on, what QEMU's unit does instead. With none of them it must foretell our unit, with all of them QEMU's; with
 * all but one it shows what that one is to blame for.
 */
import type { Dma } from './dma.ts'

/** What a request is answered with. */
export interface Answer {
  /** Machine address of the first byte; null for a blocked one. */
  readonly to: bigint | null
  /** How many bytes, from the address on, go there. */
  readonly bytes: number
}

export interface ExpectedUnit<Operation, Transfer extends Dma> {
  /** Invalidations that dropped some pages and left others. */
  readonly partialInvalidations: number
  /** Nothing is cached, and no fault pending. */
  clear(): void
  /** Carries out all but DMA: what the unit says of it; null where that is not known. Memory has been written already. */
  perform(operation: Exclude<Operation, Dma>): number | null
  /** A request of `requester` at `iova`; null where it cannot be foretold. */
  answer(requester: number, iova: bigint, write: boolean): Answer | null
  /** What the unit tells of the faults of a transfer, as `UnitPort.faults` has it. */
  faults(dma: Transfer): string
}

const PAGE = 4096n

/** A blocked request at `iova`: QEMU asks again for every few bytes, our unit for every page. */
export const blocked = (iova: bigint): Answer => ({ to: null, bytes: Number(PAGE - (iova % PAGE)) })

/**
 * A request at `iova` that goes to `to`, in a page of `size` bytes. `rest`: the rest of the page goes there without another request,
 * which QEMU does where there is RAM.
 */
export function granted(iova: bigint, to: bigint, size: bigint, rest: boolean): Answer {
  return { to, bytes: Number(rest ? size - (iova % size) : PAGE - (iova % PAGE)) }
}
