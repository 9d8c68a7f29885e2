/**
 * One step of a differential run. Addresses and entries are (hi, lo) halves or little-endian words, frames are machine frames, so an
 * operation is plain data that can be printed and replayed.
 */
import type { Dma } from '../dma.ts'
import type { Episode } from '../lane.ts'

export type Operation =
  /** Stores entry `index` of second-stage table `frame`. */
  | { readonly kind: 'entry'; readonly frame: number; readonly index: number; readonly hi: number; readonly lo: number }
  /** Stores the root entry of a bus. */
  | { readonly kind: 'root'; readonly bus: number; readonly words: Words }
  /** Stores the context entry of a requester. */
  | { readonly kind: 'context'; readonly requester: number; readonly words: Words }
  /** Sets the root table pointer, which is followed by global invalidations as the specification asks. */
  | { readonly kind: 'rootTable'; readonly frame: number }
  | {
      readonly kind: 'contexts'
      readonly granularity: number
      readonly domain: number
      readonly requester: number
      readonly functionMask: number
    }
  | {
      readonly kind: 'translations'
      readonly granularity: number
      readonly domain: number
      readonly hi: number
      readonly lo: number
      readonly order: number
      readonly leafOnly: boolean
    }
  /** A queue descriptor as it stands, and the recovery from what it may do. */
  | { readonly kind: 'descriptor'; readonly words: Words }
  | Transfer

export interface Transfer extends Dma {
  /** The fault record stays for the next operation to run into. */
  readonly keep: boolean
}

export type Words = readonly [number, number, number, number]

export interface VtdEpisode extends Episode<Operation> {
  /** Whether invalidations go through the queue or through the registers. */
  readonly queued: boolean
  /** All requesters use the same two domains, and each change is invalidated before anything else happens. */
  readonly shared: boolean
}
