/** Walks the tables of a board as they are in memory, with nothing cached. */
import { AmdviNeed, AmdviWalk, MachineTables } from '@iospace/iommu/walk'
import type { AmdviPersonality } from '@iospace/iommu/hardware'
import type { MachineMemory } from '@iospace/machine'
import type { Dma } from '../dma.ts'

export interface Walk {
  /** Machine frame, or −fault. */
  readonly outcome: number
  /** Levels of the table, and log2 of the page's bytes; 0 for a request that passes untranslated. */
  readonly levels: number
  readonly pageShift: number
}

export class Tables {
  readonly #walk: AmdviWalk

  constructor(memory: MachineMemory, { features }: AmdviPersonality) {
    this.#walk = new AmdviWalk(new MachineTables(memory), features)
  }

  /** The first page of a transfer, by the device table of `pages` frames from `deviceTable` on. */
  walk(deviceTable: number, pages: number, { requester, hi, lo, write }: Dma): Walk {
    const walk = this.#walk
    const need = write ? AmdviNeed.write : AmdviNeed.read
    walk.levels = 0
    const outcome = walk.request(deviceTable, pages, requester, hi, lo, need)
    const translated = outcome >= 0 && walk.pageShift > 0
    return { outcome, levels: translated ? walk.levels : 0, pageShift: translated ? walk.pageShift : 0 }
  }
}
