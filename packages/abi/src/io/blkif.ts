import { array, i16, pad, struct, u16, u32, u64, u8 } from '@iospace/wire'

/** What a request asks. Source: xen/include/public/io/blkif.h. */
export const BLKIF_OP = Object.freeze({
  READ: 0,
  WRITE: 1,
  WRITE_BARRIER: 2,
  FLUSH_DISKCACHE: 3,
  DISCARD: 5,
  INDIRECT: 6,
})

/** What a response says. */
export const BLKIF_RSP = Object.freeze({ OKAY: 0, ERROR: -1, EOPNOTSUPP: -2 })

/** Segments of one request. */
export const BLKIF_MAX_SEGMENTS_PER_REQUEST = 11

/** Slots of a one-page ring, whichever the ABI. */
export const BLKIF_RING_SLOTS = 32

/** Bits of the `info` key that a back-end publishes. */
export const VDISK = Object.freeze({ CDROM: 1, REMOVABLE: 2, READONLY: 4 })

/** One page of data: sectors first_sect to last_sect (512 bytes each, both included) of the granted frame. */
export const blkif_request_segment = struct('blkif_request_segment', {
  gref: u32,
  first_sect: u8,
  last_sect: u8,
  pad0: pad(2),
})

/** A request as 64-bit x86 lays it out: 112 bytes. All by the front-end. */
export const blkif_request = struct('blkif_request', {
  operation: u8,
  nr_segments: u8,
  handle: u16,
  pad0: pad(4),
  id: u64,
  sector_number: u64,
  seg: array(blkif_request_segment, BLKIF_MAX_SEGMENTS_PER_REQUEST),
})

/** A discard in a request's slot, 64-bit x86. */
export const blkif_request_discard = struct('blkif_request_discard', {
  operation: u8,
  flag: u8,
  handle: u16,
  pad0: pad(4),
  id: u64,
  sector_number: u64,
  nr_sectors: u64,
})

/** A response, 64-bit x86: 16 bytes in a request's slot. By the back-end. */
export const blkif_response = struct('blkif_response', {
  id: u64,
  operation: u8,
  pad0: pad(1),
  status: i16,
  pad1: pad(4),
})

/** A request as 32-bit x86 lays it out: 108 bytes, 64-bit fields aligned to 4. */
export const blkif_x86_32_request = struct(
  'blkif_x86_32_request',
  {
    operation: u8,
    nr_segments: u8,
    handle: u16,
    id: u64,
    sector_number: u64,
    seg: array(blkif_request_segment, BLKIF_MAX_SEGMENTS_PER_REQUEST),
  },
  { pack: 4 },
)

/** A discard, 32-bit x86. */
export const blkif_x86_32_request_discard = struct(
  'blkif_x86_32_request_discard',
  { operation: u8, flag: u8, handle: u16, id: u64, sector_number: u64, nr_sectors: u64 },
  { pack: 4 },
)

/** A response, 32-bit x86: 12 bytes. */
export const blkif_x86_32_response = struct(
  'blkif_x86_32_response',
  { id: u64, operation: u8, pad0: pad(1), status: i16 },
  { pack: 4 },
)

/** The layouts by the name that a front-end writes into xenstore's `protocol`; a back-end refuses other names. */
export const BLKIF_PROTOCOLS = Object.freeze({
  'x86_64-abi': Object.freeze({ request: blkif_request, discard: blkif_request_discard, response: blkif_response }),
  'x86_32-abi': Object.freeze({
    request: blkif_x86_32_request,
    discard: blkif_x86_32_request_discard,
    response: blkif_x86_32_response,
  }),
})

/** A layout's name. */
export type BlkifProtocol = keyof typeof BLKIF_PROTOCOLS
