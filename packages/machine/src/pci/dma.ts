/**
 * How a device reaches memory. A device moves bytes between its own board memory and a bus address; the translator in front of
 * memory performs the copy inside the translation, so that no machine address ever leaves it.
 */
import { inInterruptWindow, type InterruptController } from '../interrupts.ts'
import type { MachineMemory } from '../memory.ts'

/** What became of a DMA. Positive: done. Negative: nothing moved beyond the 4 KiB pieces before the failing one. */
export const DmaOutcome = {
  /** Done at an address that the IOMMU translated. */
  translated: 2,
  /** Done at the address as it stood on the bus. */
  untranslated: 1,
  /** The IOMMU blocked it and recorded a fault if it records faults. */
  blocked: -1,
  /** It passed, but nothing answers at that address (master abort). */
  unclaimed: -2,
  /** The function, or a bridge above it, may not master the bus. */
  masterDisabled: -3,
} as const

/**
 * What stands between the PCI root and memory: an IOMMU's hardware, or nothing. Bus addresses are (`hi`, `lo`) 32-bit halves of any
 * sign; `length` is at least 1 (0 is a zero-length read) and may cross pages; `at` is a byte offset of the flat memory inside the
 * device's board memory. A write into the interrupt window is an interrupt message. Results are {@link DmaOutcome}.
 */
export interface DmaTranslator {
  dmaRead(requester: number, hi: number, lo: number, at: number, length: number): number
  dmaWrite(requester: number, hi: number, lo: number, at: number, length: number): number
}

/** A machine without an IOMMU: bus addresses are physical addresses. */
export class NoTranslation implements DmaTranslator {
  declare private readonly memory: MachineMemory
  declare private readonly interrupts: InterruptController

  constructor(memory: MachineMemory, interrupts: InterruptController) {
    this.memory = memory
    this.interrupts = interrupts
  }

  dmaRead(_requester: number, hi: number, lo: number, at: number, length: number): number {
    return this.#move(hi, lo, at, length, false)
  }

  dmaWrite(_requester: number, hi: number, lo: number, at: number, length: number): number {
    if (inInterruptWindow(hi, lo)) {
      // Every interrupt message is one aligned doubleword; anything else that hits the window goes nowhere.
      if (length !== 4 || (lo & 3) !== 0) return DmaOutcome.unclaimed
      this.interrupts.message(this.memory.view.getUint32(at, true))
      return DmaOutcome.untranslated
    }
    return this.#move(hi, lo, at, length, true)
  }

  #move(hi: number, lo: number, at: number, length: number, write: boolean): number {
    const memory = this.memory
    let done = 0
    while (done < length) {
      const sum = (lo >>> 0) + done
      const there = memory.offset(sum > 0xffffffff ? hi + 1 : hi, sum)
      if (there < 0) return DmaOutcome.unclaimed
      const piece = Math.min(length - done, 0x1000 - (there & 0xfff))
      if (write) memory.copy(there, at + done, piece)
      else memory.copy(at + done, there, piece)
      done += piece
    }
    return DmaOutcome.untranslated
  }
}
