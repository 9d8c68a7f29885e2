/** The books of a run: what was called, made and ended. Counters only; reports are made from a snapshot of them. */
import { SUBOP_NAMES } from './names.ts'

/** Sub-op slots per hypercall number. */
const SUBOPS = 128
/** Where numbers without a name are counted together: a caller makes up any of them. */
const UNKNOWN_CALL = 63
const UNKNOWN_SUBOP = SUBOPS - 1

export class Books {
  /** Calls by hypercall number × 128 + sub-op. */
  readonly #calls = new Float64Array(64 * SUBOPS)
  /** Mappings in I/O spaces; a FOLLOWS chain is one. */
  mappingsMade = 0
  mappingsEnded = 0
  /** 4 KiB pages of those mappings. */
  pagesMapped = 0
  pagesUnmapped = 0
  /** Maps and unmaps by GNTTABOP. */
  grantMapsMade = 0
  grantMapsEnded = 0
  /** Records that the unit gave, by what became of them. */
  faultsReported = 0
  faultsLost = 0
  faultsUnowned = 0
  faultsSuppressed = 0

  call(nr: number, subop: number): void {
    const family = nr >= 0 && nr < UNKNOWN_CALL ? nr : UNKNOWN_CALL
    this.#calls[family * SUBOPS + (subop >= 0 && subop < UNKNOWN_SUBOP ? subop : UNKNOWN_SUBOP)]!++
  }

  /** Calls by name, e.g. `iommu_op.map`; only what was called. */
  hypercalls(): Record<string, number> {
    const result: Record<string, number> = {}
    this.#calls.forEach((times, slot) => {
      if (times === 0) return
      const name = callName(Math.floor(slot / SUBOPS), slot % SUBOPS)
      result[name] = (result[name] ?? 0) + times
    })
    return result
  }
}

/** `iommu_op.map`; `unknown` for what has no name. */
export function callName(nr: number, subop: number): string {
  const family = SUBOP_NAMES[nr]
  if (family === undefined) return 'unknown'
  if (family.subops === null) return family.name
  return `${family.name}.${family.subops[subop] ?? 'unknown'}`
}
