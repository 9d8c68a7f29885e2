/** What each IOMMU can and cannot protect, and what a storage run on it promises. A test holds it against the drivers' capabilities. */
import type { IommuChoice } from './options.ts'

export interface Protection {
  /** Which devices it can keep apart, and out of memory that is not theirs. */
  readonly isolates: 'each function' | 'each bus' | 'nothing'
  /** A device cannot raise the interrupt of another. */
  readonly interrupts: boolean
  /** A blocked access leaves a record that tells its address. */
  readonly faultAddresses: boolean
  /** It translates what is in an I/O space. */
  readonly translates: boolean
  /** One sentence for people. */
  readonly note: string
}

export const PROTECTION: Readonly<Record<IommuChoice, Protection>> = {
  vtd: {
    isolates: 'each function',
    interrupts: true,
    faultAddresses: true,
    translates: true,
    note: 'read and write rights a page, interrupts by source id',
  },
  amdvi: {
    isolates: 'each function',
    interrupts: true,
    faultAddresses: true,
    translates: true,
    note: 'read and write rights a page, interrupts by source id',
  },
  calgary: {
    isolates: 'each bus',
    interrupts: false,
    faultAddresses: false,
    translates: true,
    note: 'functions of one bus share a table, writable is readable too, a fault tells the bus alone',
  },
  gart: {
    isolates: 'nothing',
    interrupts: false,
    faultAddresses: false,
    translates: true,
    note: 'it only translates an aperture: every device reaches all memory',
  },
  none: {
    isolates: 'nothing',
    interrupts: false,
    faultAddresses: false,
    translates: false,
    note: 'every device reaches all memory',
  },
}
