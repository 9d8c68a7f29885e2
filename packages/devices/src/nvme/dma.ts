/**
 * The controller's way to the bus, with two sets of books: payload (the blocks that commands move) and control (queue entries, PRP
 * lists, identify data and logs), each by what became of the transfer.
 */
import { DmaOutcome, type PciFunction } from '@iospace/machine'

// Constants of another module as this module's own: those are what the compiler folds.
const { translated: OUTCOME_TRANSLATED } = DmaOutcome

const TRANSLATED = 0
const UNTRANSLATED = 1
const FAILED = 2

/** Bytes moved, by outcome, and transfers that failed. */
export class DmaBooks {
  readonly #sums = new Float64Array(3)

  /** Bytes that went through an IOMMU's translation. */
  get translated(): number {
    return this.#sums[TRANSLATED]!
  }

  /** Bytes that went to the address as it stood on the bus. */
  get untranslated(): number {
    return this.#sums[UNTRANSLATED]!
  }

  /** Transfers (not bytes) that were blocked or reached nothing. */
  get failed(): number {
    return this.#sums[FAILED]!
  }

  /** @internal True when the transfer was done. */
  enter(outcome: number, bytes: number): boolean {
    if (outcome === OUTCOME_TRANSLATED) this.#sums[TRANSLATED]! += bytes
    else if (outcome > 0) this.#sums[UNTRANSLATED]! += bytes
    else this.#sums[FAILED]!++
    return outcome > 0
  }
}

/** All methods: bus address (`hi`:`lo`), board memory at `at`; true when every byte was moved. */
export class NvmeDma {
  readonly payload = new DmaBooks()
  readonly control = new DmaBooks()
  readonly #device: PciFunction

  constructor(device: PciFunction) {
    this.#device = device
  }

  /** Host memory to board memory. */
  read(hi: number, lo: number, at: number, length: number, books: DmaBooks): boolean {
    return books.enter(this.#device.dmaRead(hi, lo, at, length), length)
  }

  /** Board memory to host memory. */
  write(hi: number, lo: number, at: number, length: number, books: DmaBooks): boolean {
    return books.enter(this.#device.dmaWrite(hi, lo, at, length), length)
  }
}
