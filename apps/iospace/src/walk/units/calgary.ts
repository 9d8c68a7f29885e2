/** Calgary and CalIOC2 with TCE_ENABLE set and no peripheral windows. The table of bus n: TARn. */
import { type CalgaryPersonality, calgaryPersonalities } from '@iospace/iommu/hardware'
import { calgary } from '@iospace/iommu/spec'
import { CalgaryNeed, CalgaryWalk, UNTRANSLATED } from '@iospace/iommu/walk'
import { address, bit, type Field, fieldsOf, rare } from '../fields.ts'
import type { FileMemory } from '../memory.ts'
import { unrecorded, type WalkOutcome, type WalkStep } from '../result.ts'
import {
  entryAddress,
  failedPlace,
  highOf,
  inFrame,
  joined,
  lowOf,
  type Judge,
  type RegisterValues,
  valueOf,
  type WalkUnit,
} from './unit.ts'

const { Fault, FAULT_NAMES, NO_WINDOWS } = calgary

const named: Readonly<Record<string, CalgaryPersonality>> = calgaryPersonalities

export const calgaryUnit: WalkUnit = {
  registers: { TAR0: 64, TAR1: 64, TAR2: 64, TAR3: 64 },
  personalities: Object.keys(named),
  buses: 4,
  zeroLengthReads: false,
  describe: (personality) => {
    const { legacyFirst } = named[personality]!
    return `one flat table per bus, pages of 4 KiB, untranslated from ${legacyFirst / 1024} KiB to 1 MiB`
  },
  judge,
}

function judge(personality: string, registers: RegisterValues, memory: FileMemory): Judge {
  const walk = new CalgaryWalk(memory, named[personality]!)

  return ({ requester, write, address: at }) => {
    const tar = valueOf(registers, `TAR${requester >> 8}`)
    const need = write ? CalgaryNeed.write : CalgaryNeed.read
    const steps: WalkStep[] = []
    const entry = (mfn: number, index: number, high: number, low: number): void => {
      const value = joined(high, low)
      const place = entryAddress(mfn, index, 8)
      const fields = fieldsOf(FIELDS, value)
      steps.push({ entry: 'TCE', level: null, address: place, bytes: 8, value, fields, rights: low & 3 })
    }
    const result = walk.request(highOf(tar), lowOf(tar), highOf(at), lowOf(at), need, NO_WINDOWS, { entry })
    return { outcome: outcomeOf(result, at), steps }
  }

  function outcomeOf(result: number, at: bigint): WalkOutcome {
    const { rights } = walk
    if (result === UNTRANSLATED) return { kind: 'page', machineAddress: at, pageSize: 0, rights }
    if (result < 0)
      return unrecorded(`${FAULT_NAMES[-result]!}${-result === Fault.tableAccess ? failedPlace(memory) : ''}`)
    return { kind: 'page', machineAddress: inFrame(result, at), pageSize: 4096, rights }
  }
}

/** Facts C.1, in the byte order of the chip. */
const FIELDS: readonly Field[] = [bit('READ', 0), bit('WRITE', 1), rare('hub', 2, 7), address('page', 12, 47)]
