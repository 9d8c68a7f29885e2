/**
 * What a domain has mapped of other domains' grants, by handle: flat arrays with a free list. Source: xen/common/grant_table.c
 * (grant_mapping; 256 records to a maptrack frame).
 */

import { GNTMAP } from '@iospace/abi'

export const HANDLES_PER_FRAME = 256
const PARTS = GNTMAP.host_map | GNTMAP.device_map
const FIRST_HANDLES = 64

export class Maptrack {
  readonly limit: number
  /** Granting domain. */
  domid = new Uint16Array(FIRST_HANDLES)
  ref = new Uint32Array(FIRST_HANDLES)
  /** GNTMAP flags that still hold. A handle lives while its host or device part does. */
  flags = new Uint8Array(FIRST_HANDLES)
  /** Slot of the host part. */
  pfn = new Int32Array(FIRST_HANDLES)
  /** I/O page of the device part in an empty default space; −1 when devices reach it at its machine address. */
  ioPage = new Int32Array(FIRST_HANDLES)
  #next = new Int32Array(FIRST_HANDLES)
  #head = -1
  #fresh = 0
  /** Handles in use, those of `map_grant` included: they are charged here too. */
  used = 0

  constructor(frames: number) {
    this.limit = frames * HANDLES_PER_FRAME
  }

  /** A free handle, or −1 when the quota is used up. */
  allocate(): number {
    if (this.used >= this.limit) return -1
    this.used++
    const handle = this.#head
    if (handle >= 0) {
      this.#head = this.#next[handle]!
      return handle
    }
    if (this.#fresh === this.flags.length) this.#grow()
    return this.#fresh++
  }

  free(handle: number): void {
    this.flags[handle] = 0
    this.#next[handle] = this.#head
    this.#head = handle
    this.used--
  }

  /** True for a handle with a live part. */
  valid(handle: number): boolean {
    return handle < this.#fresh && (this.flags[handle]! & PARTS) !== 0
  }

  /** Handles that were ever given out; for walks over all of them. */
  get end(): number {
    return this.#fresh
  }

  #grow(): void {
    const size = this.flags.length * 2
    const grown = <A extends { set(from: A): void }>(make: new (length: number) => A, from: A): A => {
      const array = new make(size)
      array.set(from)
      return array
    }
    this.domid = grown(Uint16Array, this.domid)
    this.ref = grown(Uint32Array, this.ref)
    this.flags = grown(Uint8Array, this.flags)
    this.pfn = grown(Int32Array, this.pfn)
    this.ioPage = grown(Int32Array, this.ioPage)
    this.#next = grown(Int32Array, this.#next)
  }
}
