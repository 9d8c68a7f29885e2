/**
 * One step of an AMD-Vi run. Addresses and entries are (hi, lo) halves or little-endian words, frames are machine frames, so an
 * operation is plain data that can be printed and replayed.
 */
import type { Dma } from '../dma.ts'
import type { Episode } from '../lane.ts'

export type Operation =
  /** Stores the same into `count` entries of a page table: a page of an odd size has that many. */
  | {
      readonly kind: 'entries'
      readonly frame: number
      readonly index: number
      readonly count: number
      readonly hi: number
      readonly lo: number
    }
  /** Stores a device table entry, into both tables. */
  | { readonly kind: 'device'; readonly requester: number; readonly words: DeviceWords }
  /** Switches the unit off, points it to a device table of so many frames, and on again; all caches are dropped. */
  | { readonly kind: 'deviceTable'; readonly frame: number; readonly pages: number }
  /** INVALIDATE_IOMMU_PAGES of 2^order pages. */
  | {
      readonly kind: 'pages'
      readonly domain: number
      readonly hi: number
      readonly lo: number
      readonly order: number
      readonly directories: boolean
    }
  /** INVALIDATE_DEVTAB_ENTRY. */
  | { readonly kind: 'entry'; readonly requester: number }
  /** INVALIDATE_IOMMU_ALL. */
  | { readonly kind: 'all' }
  /** A command as it stands. */
  | { readonly kind: 'command'; readonly words: Words }
  | Dma

export type Words = readonly [number, number, number, number]
export type DeviceWords = readonly [number, number, number, number, number, number, number, number]

export interface AmdviEpisode extends Episode<Operation> {
  /** All requesters use the same two domains, and each change is invalidated before anything else happens. */
  readonly shared: boolean
}
