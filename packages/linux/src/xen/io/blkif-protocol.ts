/** The blkif layouts as word offsets, for code that reads and writes rings word by word. */
import { BLKIF_PROTOCOLS, blkif_request_segment, type BlkifProtocol } from '@iospace/abi'

/** Offsets are words from the start of a slot. `operation` and `nr_segments` are bytes 0 and 1 of word 0 in either layout. */
export interface BlkifLayout {
  readonly name: BlkifProtocol
  /** Bytes of a slot: the larger of request and response. */
  readonly slotSize: number
  readonly requestWords: number
  readonly id: number
  readonly sector: number
  readonly segments: number
  /** Bytes from one segment to the next, in words; gref is its first word, the sectors are bytes 0 and 1 of its second. */
  readonly segmentWords: number
  readonly responseId: number
  /** Word of the response that holds the operation (byte 0) and the status (upper half). */
  readonly responseStatus: number
}

function layout(name: BlkifProtocol): BlkifLayout {
  const { request, response } = BLKIF_PROTOCOLS[name]
  return Object.freeze({
    name,
    slotSize: Math.max(request.size, response.size),
    requestWords: request.size / 4,
    id: request.words.id,
    sector: request.words.sector_number,
    segments: request.words.seg,
    segmentWords: blkif_request_segment.size / 4,
    responseId: response.words.id,
    responseStatus: response.words.operation,
  })
}

/** By the name in xenstore's `protocol`; a front-end that writes none has the back-end's own, x86_64. */
export const BLKIF_LAYOUTS: Readonly<Record<BlkifProtocol, BlkifLayout>> = Object.freeze({
  'x86_64-abi': layout('x86_64-abi'),
  'x86_32-abi': layout('x86_32-abi'),
})

/** Word 0 of a request. */
export const operationOf = (word: number): number => word & 0xff
export const segmentsOf = (word: number): number => (word >>> 8) & 0xff
export const requestWord = (operation: number, segments: number): number => operation | (segments << 8)
/** The status word of a response. */
export const responseWord = (operation: number, status: number): number => operation | (status << 16)
export const statusOf = (word: number): number => word >> 16
