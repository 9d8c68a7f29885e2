import { BLKIF_MAX_SEGMENTS_PER_REQUEST } from '@iospace/abi'
import { BlockRequest } from '../../block/block-device.ts'

/** One request under way: made once per slot of the ring and used again and again. */
export class Pending {
  readonly request: BlockRequest
  /** The front-end's id, in halves: given back as it came. */
  idLow = 0
  idHigh = 0
  operation = 0
  /** Slots for the CPU's mappings of its pages, and their handles; `mapped` of them are in use. */
  readonly slots: number
  readonly handles = new Int32Array(BLKIF_MAX_SEGMENTS_PER_REQUEST)
  mapped = 0
  /** Order of arrival, for flushes; and, in a flush, how many earlier writes are still under way. */
  sequence = 0
  before = 0

  /** `slots`: first of 11 spare slots; −1 when the device takes granted pages as they are. */
  constructor(slots: number, done: (pending: Pending) => void) {
    this.slots = slots
    this.request = new BlockRequest(BLKIF_MAX_SEGMENTS_PER_REQUEST, () => done(this))
  }
}
