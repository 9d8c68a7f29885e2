/**
 * Handles of `map_grant`, per space. A handle is a slot and a generation, so that one that ended is not taken for its successor. They are
 * charged to the domain's maptrack quota.
 */
import type { Domain } from '../domain.ts'
import { Use, unpinGrant } from '../grant-table/pin.ts'
import { MAX_PAYLOAD } from './mark.ts'
import type { Space } from './space.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const DEVICE_USE = Use.device

const SLOT_BITS = 20
const SLOTS = 2 ** SLOT_BITS
const GENERATIONS = 2 ** (32 - SLOT_BITS)
const FIRST_SLOTS = 64

export class GrantHandles {
  /** Granting domain by slot. */
  domid = new Uint16Array(FIRST_SLOTS)
  ref = new Uint32Array(FIRST_SLOTS)
  readonly = new Uint8Array(FIRST_SLOTS)
  page = new Int32Array(FIRST_SLOTS)
  #generation = new Uint16Array(FIRST_SLOTS)
  #next = new Int32Array(FIRST_SLOTS)
  /** 1: in use. */
  #live = new Uint8Array(FIRST_SLOTS)
  #head = -1
  #fresh = 0
  count = 0

  /** A slot, charged to `domain`; −1 when the quota is used up. */
  allocate(domain: Domain): number {
    if (domain.maptrack.used >= domain.maptrack.limit) return -1
    let slot = this.#head
    if (slot >= 0) this.#head = this.#next[slot]!
    else {
      if (this.#fresh === Math.min(SLOTS, MAX_PAYLOAD)) return -1
      if (this.#fresh === this.#live.length) this.#grow()
      slot = this.#fresh++
    }
    domain.maptrack.used++
    this.#live[slot] = 1
    this.count++
    return slot
  }

  free(domain: Domain, slot: number): void {
    this.#live[slot] = 0
    this.#generation[slot] = (this.#generation[slot]! + 1) & (GENERATIONS - 1)
    this.#next[slot] = this.#head
    this.#head = slot
    domain.maptrack.used--
    this.count--
  }

  /** What the guest gets for a slot. */
  handle(slot: number): number {
    return ((this.#generation[slot]! << SLOT_BITS) | slot) >>> 0
  }

  /** The slot of a live handle, or −1. */
  slot(handle: number): number {
    const slot = handle & (SLOTS - 1)
    return slot < this.#fresh && this.#live[slot] === 1 && this.#generation[slot] === handle >>> SLOT_BITS ? slot : -1
  }

  /** Ends the use of a slot's grant; its invalidation is complete. */
  release(space: Space, slot: number): void {
    const granter = space.core.domains[this.domid[slot]!]!
    const ref = this.ref[slot]!
    const readonly = this.readonly[slot] === 1
    this.free(space.domain, slot)
    space.domain.pinned--
    unpinGrant(space.core, granter, ref, readonly, DEVICE_USE)
  }

  #grow(): void {
    const size = this.#live.length * 2
    const grown = <A extends { set(from: A): void }>(make: new (length: number) => A, from: A): A => {
      const array = new make(size)
      array.set(from)
      return array
    }
    this.domid = grown(Uint16Array, this.domid)
    this.ref = grown(Uint32Array, this.ref)
    this.readonly = grown(Uint8Array, this.readonly)
    this.page = grown(Int32Array, this.page)
    this.#generation = grown(Uint16Array, this.#generation)
    this.#next = grown(Int32Array, this.#next)
    this.#live = grown(Uint8Array, this.#live)
  }
}
