/**
 * The two sides of an I/O ring: indices that count for ever modulo 2^32, each side's private ones, and when the other side must be
 * told (xen/include/public/io/ring.h). What the other side wrote is read once and checked for distance before use.
 */
import { ring_header, ringMustNotify } from '@iospace/abi'
import type { PlatformMemory } from '../../platform.ts'

const HEADER = ring_header.words
const HEADER_WORDS = ring_header.size / 4

/** What both sides share: the page and its slots. */
class Ring {
  readonly memory: PlatformMemory
  readonly slots: number
  readonly #pfn: number
  readonly #slotWords: number

  /** A ring of `slots` (a power of two) of `slotSize` bytes in page `pfn`. */
  constructor(memory: PlatformMemory, pfn: number, slots: number, slotSize: number) {
    this.memory = memory
    this.slots = slots
    this.#pfn = pfn
    this.#slotWords = slotSize >> 2
  }

  /** Word index of the slot that `index` names. */
  slot(index: number): number {
    return this.base() + HEADER_WORDS + (index & (this.slots - 1)) * this.#slotWords
  }

  protected base(): number {
    return this.memory.frameOffset(this.#pfn) >>> 2
  }

  protected get(field: number): number {
    return this.memory.words[this.base() + field]!
  }

  protected set(field: number, value: number): void {
    this.memory.words[this.base() + field] = value
  }
}

/** The side that asks. It owns the page. */
export class FrontRing extends Ring {
  /** Requests written, and responses read. */
  requestsWritten = 0
  responsesRead = 0

  /** Writes the header of a fresh ring: indices 0, both sides want the first event. */
  reset(): void {
    this.requestsWritten = 0
    this.responsesRead = 0
    this.set(HEADER.req_prod, 0)
    this.set(HEADER.rsp_prod, 0)
    this.set(HEADER.req_event, 1)
    this.set(HEADER.rsp_event, 1)
  }

  /** Slots free for requests. */
  get room(): number {
    return this.slots - ((this.requestsWritten - this.responsesRead) >>> 0)
  }

  /** Publishes what was written. True when the other side must be told. */
  push(): boolean {
    const before = this.get(HEADER.req_prod)
    this.set(HEADER.req_prod, this.requestsWritten)
    return ringMustNotify(this.get(HEADER.req_event) >>> 0, before >>> 0, this.requestsWritten >>> 0)
  }

  /** Responses not read yet; −1 when there are more than requests: the other side is broken. */
  responses(): number {
    const ready = (this.get(HEADER.rsp_prod) - this.responsesRead) >>> 0
    return ready > (this.requestsWritten - this.responsesRead) >>> 0 ? -1 : ready
  }

  /**
   * Asks for an event when a quarter of what is under way is answered: all of it will be, so the event comes, and a busy ring has few
   * (Linux's netfront asks for one at a half). True when a response came meanwhile.
   */
  finalCheck(): boolean {
    const underWay = (this.requestsWritten - this.responsesRead) >>> 0
    this.set(HEADER.rsp_event, this.responsesRead + 1 + (underWay >>> 2))
    return this.get(HEADER.rsp_prod) !== (this.responsesRead | 0)
  }
}

/** The side that serves. The page is the other domain's: any word of it may change at any time. */
export class BackRing extends Ring {
  /** Requests read, and responses written. */
  requestsRead = 0
  responsesWritten = 0

  /** Requests not read yet; −1 for an index that no front-end that keeps to the ring can have: more than the slots allow. */
  requests(): number {
    const producer = this.get(HEADER.req_prod)
    const unanswered = (producer - this.responsesWritten) >>> 0
    const unread = (producer - this.requestsRead) >>> 0
    return unanswered > this.slots || unread > this.slots ? -1 : unread
  }

  /** Asks for an event at the next request. True when one came meanwhile. */
  finalCheck(): boolean {
    this.set(HEADER.req_event, this.requestsRead + 1)
    return this.get(HEADER.req_prod) !== (this.requestsRead | 0)
  }

  /** Publishes the responses that were written. True when the other side must be told. */
  push(): boolean {
    const before = this.get(HEADER.rsp_prod)
    this.set(HEADER.rsp_prod, this.responsesWritten)
    return ringMustNotify(this.get(HEADER.rsp_event) >>> 0, before >>> 0, this.responsesWritten >>> 0)
  }
}
