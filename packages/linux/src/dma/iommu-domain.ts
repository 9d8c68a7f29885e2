/**
 * What the dma-iommu layer needs of an IOMMU, one object per device: batches of mappings, written piece by piece into whatever form
 * the IOMMU takes (a hypercall's list, table entries), then committed. No objects pass through here.
 *
 * The domain picks I/O addresses: the hypervisor does (`xen`: iommu_op `ANY`), or an allocator over tables of this kernel's own
 * (`TableDomain`). They are (`high`, `low`) 32-bit halves; gfns are machine frames of this kernel's memory.
 */
import type { PlatformMemory } from '../platform.ts'
import type { ScatterList } from './scatterlist.ts'

export interface IommuDomain {
  readonly name: string
  /** Pages by grant reference can be mapped. */
  readonly takesGrants: boolean
  /** Most runs in a batch. */
  readonly capacity: number
  /** Fewest address bits that a device needs to reach any page of the window. */
  readonly minAddressBits: number

  /** Begins a batch. `access`: 1 read, 2 write; `align`, `boundary`: log2 of bytes, 0 for none; `limit`: highest byte's address bits. */
  mapBegin(access: number, align: number, boundary: number, addressBits: number): void
  /** Appends `pages` pages from machine frame `gfn` on; `follows` puts it directly behind the run before it. */
  mapRun(gfn: number, pages: number, follows: boolean): void
  /** Maps the batch. How many runs took effect, from the first; when not all, {@link error} tells why. */
  mapCommit(): number
  /** Address of run `index` of the batch committed last. */
  ioHigh(index: number): number
  ioLow(index: number): number

  unmapBegin(): void
  /** Appends a whole mapping: a run and what followed it. */
  unmapRange(high: number, low: number, pages: number): void
  /**
   * Ends the batch's mappings; when it returns 0 the device reaches none of them, or with a domain that defers soon will not. −errno: the
   * frames must not be reused.
   */
  unmapCommit(): number

  /**
   * {@link mapRun} and its commit in one loop, for mappings of one page each: entries of `list` from `from` on, at most a batch. Fills
   * their segments. The first entry not mapped (`from` when one of them has a second page: make runs of them), or −errno with nothing
   * of the batch mapped.
   */
  mapPages(list: ScatterList, memory: PlatformMemory, from: number, access: number, addressBits: number): number
  /** Ends the mappings of segments `from`…`end`−1, at most a batch, each a whole mapping. As {@link unmapCommit}. */
  unmapSegments(list: ScatterList, from: number, end: number): number

  /**
   * Maps the pages of `list`, which its `granter` granted, each for itself, at most a batch; fills segments and handles. How many took
   * effect, from the first; when not all, {@link error} tells why.
   */
  mapGrants(list: ScatterList, access: number, addressBits: number): number
  /** Ends the mappings of the first `count` entries of `list` by their handles. As {@link unmapCommit}. */
  unmapGrants(list: ScatterList, count: number): number

  /** The driver of the device is gone, its mappings are ended: give back what the domain itself holds. */
  release(): void

  /** −errno of the commit that did less than all. */
  error: number
}
