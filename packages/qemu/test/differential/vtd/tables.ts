/** Walks the tables of a board as they are in memory, with nothing cached. */
import { MachineTables, Need, VtdWalk } from '@iospace/iommu/walk'
import type { VtdPersonality } from '@iospace/iommu/hardware'
import type { MachineMemory } from '@iospace/machine'
import type { Transfer } from './operation.ts'

export interface Walk {
  /** Machine frame, or −reason. */
  readonly outcome: number
  /** Levels of the table, and of the page's entry (1 is 4 KiB); 0 for a request that passes untranslated. */
  readonly levels: number
  readonly leafLevel: number
}

export class Tables {
  readonly #walk: VtdWalk

  constructor(memory: MachineMemory, { capabilities, hostAddressBits }: VtdPersonality) {
    this.#walk = new VtdWalk(new MachineTables(memory), capabilities, hostAddressBits)
  }

  /** The first page of a transfer. */
  walk(root: number, { requester, hi, lo, write }: Transfer): Walk {
    const walk = this.#walk
    const outcome = walk.request(root, requester, hi, lo, write ? Need.write : Need.read)
    const translated = outcome >= 0 && walk.leafLevel > 0
    return { outcome, levels: translated ? walk.levels : 0, leafLevel: translated ? walk.leafLevel : 0 }
  }
}
