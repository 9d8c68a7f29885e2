/** The GART of a K8 northbridge: on by F3x90 bit 0. Everything outside its aperture passes, and it grants whatever is asked inside. */
import { gart } from '@iospace/iommu/spec'
import { gartPersonalities } from '@iospace/iommu/hardware'
import { GartWalk } from '@iospace/iommu/walk'
import { address, bit, type Field, fieldsOf } from '../fields.ts'
import type { FileMemory } from '../memory.ts'
import { unrecorded, type WalkOutcome, type WalkStep } from '../result.ts'
import {
  entryAddress,
  failedPlace,
  highOf,
  inFrame,
  lowOf,
  type Judge,
  type RegisterValues,
  valueOf,
  type WalkUnit,
} from './unit.ts'

const { Fault, faultNames, frameOf } = gart

export const gartUnit: WalkUnit = {
  registers: { F3x90: 32, F3x94: 32, F3x98: 32 },
  // Those that behave as the manual says: with erratum 156 the outcome is not the table's.
  personalities: Object.values(gartPersonalities).flatMap(({ name, erratum156 }) => (erratum156 ? [] : [name])),
  buses: 256,
  zeroLengthReads: false,
  describe: () => 'one flat table, pages of 4 KiB, no permissions',
  judge,
}

function judge(_personality: string, registers: RegisterValues, memory: FileMemory): Judge {
  const walk = new GartWalk(memory)
  const control = lowOf(valueOf(registers, 'F3x90'))
  const base = lowOf(valueOf(registers, 'F3x94'))
  const table = lowOf(valueOf(registers, 'F3x98'))

  return ({ address: at }) => {
    const steps: WalkStep[] = []
    const result = walk.request(control, base, table, highOf(at), lowOf(at), (mfn, index, entry) => {
      const value = BigInt(entry >>> 0)
      // Bits 39:32 of the page lie below 31:12: put in order, for the name's sake.
      const fields = fieldsOf(FIELDS, (BigInt(frameOf(entry)) << 12n) | (value & 3n))
      const rights = (entry & 1) * 3
      steps.push({ entry: 'PTE', level: null, address: entryAddress(mfn, index, 4), bytes: 4, value, fields, rights })
    })
    return { outcome: outcomeOf(result, at), steps }
  }

  function outcomeOf(result: number, at: bigint): WalkOutcome {
    const { pageRights: rights, pageShift } = walk
    if (result < 0)
      return unrecorded(`${faultNames[-result]!}${-result === Fault.tableAccess ? failedPlace(memory) : ''}`)
    if (pageShift === 0) return { kind: 'page', machineAddress: at, pageSize: 0, rights }
    return { kind: 'page', machineAddress: inFrame(result, at), pageSize: 2 ** pageShift, rights }
  }
}

/** Facts D. */
const FIELDS: readonly Field[] = [bit('valid', 0), bit('coherent', 1), address('page', 12, 39)]
