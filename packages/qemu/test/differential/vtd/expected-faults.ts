/** The one fault record of QEMU's VT-d unit, and of ours like it (facts A.4), as `VtdUnit.faults` tells of it. */
import type { Deviates } from './deviates.ts'
import { describeFaults, type FaultWords } from './faults.ts'
import type { Transfer } from './operation.ts'

const PENDING = 2
const OVERFLOW = 1
/** F, and T of a read. */
const FAULT = 0x8000_0000
const READ = 0x4000_0000
/** Reasons that FPD of the context entry keeps from being recorded. */
const QUALIFIED = new Set([0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xe])
const CONTEXT_RESERVED = 0xb

export class ExpectedFaults {
  readonly #deviates: Deviates
  #record: FaultWords | null = null
  #overflow = false

  constructor(deviates: Deviates) {
    this.#deviates = deviates
  }

  clear(): void {
    this.#record = null
    this.#overflow = false
  }

  add(reason: number, disabled: boolean, requester: number, iova: bigint, write: boolean): void {
    const told = reason === CONTEXT_RESERVED && this.#deviates('reserved-context-is-never-silent')
    if ((disabled && QUALIFIED.has(reason) && !told) || this.#overflow) return
    if (this.#record === null) {
      const page = iova & ~0xfffn
      const words = [page & 0xffff_ffffn, page >> 32n].map(Number) as [number, number]
      this.#record = [...words, requester, FAULT + (write ? 0 : READ) + reason]
    } else if (this.#record[2] !== requester) this.#overflow = true
  }

  tell({ keep }: Transfer): string {
    const status = (this.#record === null ? 0 : PENDING) | (this.#overflow ? OVERFLOW : 0)
    const text = describeFaults(status, this.#record)
    if (!keep) this.clear()
    return text
  }
}
