/** One record into a domain's fault ring, in the steps of the protocol (abi/iommu-op/fault.ts). */
import {
  FAULT_RECORDS_PER_PAGE,
  HANDLE_NONE,
  iommu_fault_control as control,
  iommu_fault_record as record,
} from '@iospace/abi'
import { PAGE_SIZE } from '@iospace/machine'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'

export interface FaultFields {
  readonly reason: number
  readonly hw_reason: number
  readonly flags: number
  readonly device: number
  readonly space: number
  readonly hi: number
  readonly lo: number
}

/** False when there is no ring or it is full: then the loss is counted. */
export function writeRecord(core: Core, domain: Domain, fields: FaultFields): boolean {
  const sequence = domain.faultSequence
  domain.faultSequence = (sequence + 1) >>> 0
  const ring = domain.faultRing
  if (ring === null) return false
  const { guest } = core
  const records = ring.pages.length * FAULT_RECORDS_PER_PAGE
  // The guest's word is used for distance only; nonsense counts as full.
  const consumer = guest.load32(ring.control, control.offsets.consumer)
  if ((ring.producer - consumer) >>> 0 >= records) {
    ring.lost = (ring.lost + 1) >>> 0
    guest.store32(ring.control, control.offsets.lost, ring.lost)
    return false
  }
  const slot = ring.producer % records
  const frame = ring.pages[Math.floor(slot / FAULT_RECORDS_PER_PAGE)]!
  const at = (slot % FAULT_RECORDS_PER_PAGE) * record.size
  const now = core.clock.now
  core.guest.writeStruct(frame, at, record, {
    sequence,
    reason: fields.reason,
    hw_reason: fields.hw_reason,
    flags: fields.flags,
    domid: domain.domid,
    device: fields.device,
    space: fields.space,
    handle: HANDLE_NONE,
    io_address: (BigInt(fields.hi >>> 0) << 32n) | BigInt((fields.lo & -PAGE_SIZE) >>> 0),
    time: BigInt(Math.floor(now)),
    cookie: 0n,
  })
  ring.producer = (ring.producer + 1) >>> 0
  guest.store32(ring.control, control.offsets.producer, ring.producer)
  return true
}
