/** Walks the tables of a board as they are in memory, with nothing cached but what the caller hands in. */
import { vtd } from '@iospace/iommu/spec'
import { MachineTables, Need, PASS_THROUGH, VtdWalk } from '@iospace/iommu/walk'
import type { VtdPersonality } from '@iospace/iommu/hardware'
import { INTERRUPT_WINDOW, type MachineMemory } from '@iospace/machine'
import type { CachedContext } from './cached.ts'

/** Reasons for a table that cannot be read: the topmost, and another. */
const UNREADABLE = new Set<number>([vtd.FaultReason.contextInvalid, vtd.FaultReason.pageEntryAccess])

export interface Walk {
  /** Machine frame, or −reason. */
  readonly outcome: number
  /** The context that it went through, null where there is none. */
  readonly context: CachedContext | null
  /** Of a page that was found: level of its entry (1 is 4 KiB; 0 untranslated), first frame, rights. */
  readonly leafLevel: number
  readonly frame: number
  readonly rights: number
  /** It met an entry of all ones. */
  readonly allOnes: boolean
  /** It ended at a table among the registers of QEMU's processor, which answer there where nothing else does. */
  readonly atRegisters: boolean
  /** FPD of the context. */
  readonly faultsDisabled: boolean
}

export class Tables {
  readonly #walk: VtdWalk

  constructor(memory: MachineMemory, { capabilities, hostAddressBits }: VtdPersonality) {
    this.#walk = new VtdWalk(new MachineTables(memory), capabilities, hostAddressBits)
  }

  /** The whole walk of one page's request, or the walk below a context that is known. */
  walk(root: number, requester: number, hi: number, lo: number, write: boolean, known?: CachedContext): Walk {
    const walk = this.#walk
    let allOnes = false
    let last = 0
    const entry = (_kind: string, _level: number, _mfn: number, _index: number, high: number, low: number) => {
      allOnes ||= high === -1 && low === -1
      last = high === 0 ? low >>> 20 : 0
    }
    const found = known ?? this.#context(root, requester, { entry })
    const end = (outcome: number, leafLevel: number): Walk => {
      const context = typeof found === 'number' ? null : found
      const frame = leafLevel < 1 ? outcome : outcome - (outcome % 512 ** (leafLevel - 1))
      const faultsDisabled = context?.faultsDisabled ?? walk.faultsDisabled
      const atRegisters = UNREADABLE.has(-outcome) && last === INTERRUPT_WINDOW
      return { outcome, context, leafLevel, frame, rights: walk.rights, allOnes, atRegisters, faultsDisabled }
    }
    if (typeof found === 'number') return end(found, 0)
    if (found.table < 0) return end((hi & 0xf_ffff) * 0x10_0000 + (lo >>> 12), 0)
    if ((hi & walk.beyondWidth(found.levels)) !== 0) return end(-4, 0)
    const outcome = walk.page(found.table, found.levels, hi, lo, write ? Need.write : Need.read, { entry })
    return end(outcome, outcome < 0 ? 0 : walk.leafLevel)
  }

  #context(root: number, requester: number, observer: Parameters<VtdWalk['context']>[2]): CachedContext | number {
    const walk = this.#walk
    const outcome = walk.context(root, requester, observer)
    if (outcome < 0) return outcome
    const { domain, levels, table, faultsDisabled } = walk
    return { domain, levels, table: outcome === PASS_THROUGH ? -1 : table, faultsDisabled, spared: null }
  }
}
