import { bytes, pad, struct, u32 } from '@iospace/wire'

/**
 * The header of an I/O ring: one page that a front-end grants to a back-end, then 2^n slots in which a response takes
 * the place of its request. Indices count for ever, modulo 2^32; a slot is an index modulo the slots. Source:
 * xen/include/public/io/ring.h.
 *
 * Asking: (1) the front-end writes slots; (2) write barrier; (3) req_prod; (4) barrier; (5) sends the event if
 * req_event was passed. Serving: (6) the back-end reads req_prod once; a distance beyond the slots is an attack; (7)
 * read barrier; (8) **copies** each request before it looks at it. Responses go the other way with rsp_prod and
 * rsp_event. Before sleeping a consumer sets its event index to consumer + 1, barrier, and looks once more.
 */
export const ring_header = struct('ring_header', {
  /** Front-end. */
  req_prod: u32,
  /** Back-end. */
  req_event: u32,
  /** Back-end. */
  rsp_prod: u32,
  /** Front-end. */
  rsp_event: u32,
  /** Private to each side. */
  pvt: bytes(4),
  pad0: pad(44),
})

/** Slots of a ring in one page: the largest power of two that fits behind the header. `slotSize` in bytes. */
export function ringSlots(slotSize: number, ringBytes = 4096): number {
  return 2 ** Math.floor(Math.log2((ringBytes - ring_header.size) / slotSize))
}

/** Byte offset of the slot that an index (modulo 2^32) names, in a ring of a power of two of slots. */
export function ringOffset(index: number, slots: number, slotSize: number): number {
  return ring_header.size + (index & (slots - 1)) * slotSize
}

/** Whether a producer that went from `before` to `after` passed `event`, and so must send. All modulo 2^32. */
export function ringMustNotify(event: number, before: number, after: number): boolean {
  return (after - event) >>> 0 < (after - before) >>> 0
}
