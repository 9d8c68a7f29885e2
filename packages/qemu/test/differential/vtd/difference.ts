/** Compares what two boards let see of one operation. */
import type { CachedContext, CachedPage } from './cached.ts'
import type { Transfer, Operation } from './operation.ts'
import type { FaultView, Observation } from './side.ts'
import type { Walk } from './tables.ts'

/** What differs. `pasid` is the PASID field of a record, which has no meaning while the record's PP bit is 0. */
export type Part = 'result' | 'fault' | 'pasid' | 'seen' | 'readback' | 'memory'

/** A page that a transfer touched: what may have been cached of it, and the walk of its context as cached, else as in memory. */
export interface Touched {
  readonly cached: CachedPage | undefined
  /** The same for another requester of the domain. */
  readonly foreign: CachedPage | undefined
  readonly walk: Walk
}

/** Two different answers, and what is known to explain them. */
export interface Difference {
  readonly operation: Operation
  readonly parts: readonly Part[]
  readonly ours: Observation
  readonly qemu: Observation
  /** For a transfer: its pages in order, and for a fetch the read-back page last. */
  readonly touched: readonly Touched[]
  /** The context of the requester that may have been cached. */
  readonly context: CachedContext | undefined
  /** The requester's context passed requests when contexts were last invalidated. */
  readonly passing: boolean
}

/** Word 3 of a record: bits 59:40 of the upper quadword. */
const PASID = 0x0fff_ff00

/** The parts in which the answers differ, `memory` excepted. */
export function compare(ours: Observation, qemu: Observation): Part[] {
  const parts = new Set<Part>()
  if (ours.result !== qemu.result) parts.add('result')
  if (ours.seen !== qemu.seen) parts.add('seen')
  compareFaults(ours.fault, qemu.fault, 'fault', parts)
  compareFaults(ours.readback, qemu.readback, 'readback', parts)
  return [...parts]
}

function compareFaults(ours: FaultView | null, qemu: FaultView | null, part: Part, parts: Set<Part>): void {
  if (ours === null || qemu === null) return
  if (ours.status !== qemu.status) parts.add(part)
  const [a, b] = [ours.record, qemu.record]
  if (a === null || b === null) {
    if (a !== b) parts.add(part)
    return
  }
  if (!a.every((word, i) => ((word ^ b[i]!) & (i === 3 ? ~PASID : -1)) === 0)) parts.add(part)
  if (((a[3] ^ b[3]) & PASID) !== 0) parts.add('pasid')
}

/** Fault reason of the record, 0 without one. */
export const reasonOf = (view: FaultView | null): number => (view?.record ?? [0, 0, 0, 0])[3] & 0xff

/** The record is of page `index` of a transfer. */
export function recordNames(view: FaultView | null, { hi, lo }: Transfer, index: number): boolean {
  const record = view?.record ?? null
  return record !== null && ((record[0] ^ (lo + index * 4096)) & ~0xfff) === 0 && record[1] >>> 0 === hi >>> 0
}
