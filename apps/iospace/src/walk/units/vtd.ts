/** VT-d in legacy mode, translation on. Root table: RTADDR. */
import { vtdPersonalities, type VtdPersonality } from '@iospace/iommu/hardware'
import { vtd } from '@iospace/iommu/spec'
import { Need, VtdWalk, type WalkObserver } from '@iospace/iommu/walk'
import { inInterruptWindow } from '@iospace/machine'
import { address, bit, type Field, fieldsOf, number, rare, reserved } from '../fields.ts'
import type { FileMemory } from '../memory.ts'
import type { WalkFault, WalkOutcome, WalkRequest, WalkStep } from '../result.ts'
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

const { FaultReason, FaultRecord, QUALIFIED_REASONS, faultReasonText, tableWidths } = vtd

const named: Readonly<Record<string, VtdPersonality>> = vtdPersonalities

export const vtdUnit: WalkUnit = {
  registers: { RTADDR: 64 },
  personalities: Object.keys(named),
  buses: 256,
  zeroLengthReads: true,
  describe: (personality) => {
    const { capabilities, hostAddressBits } = named[personality]!
    const sizes = ['4 KiB', ...(capabilities.pages2M ? ['2 MiB'] : []), ...(capabilities.pages1G ? ['1 GiB'] : [])]
    const widths = tableWidths(capabilities).join(' or ')
    return `tables of ${widths} bits, pages of ${sizes.join(', ')}, machine addresses of ${hostAddressBits} bits`
  },
  judge,
}

function judge(personality: string, registers: RegisterValues, memory: FileMemory): Judge {
  const { capabilities, hostAddressBits } = named[personality]!
  const walk = new VtdWalk(memory, capabilities, hostAddressBits)
  const format = formatOf(named[personality]!)
  // 11:0 are mode and reserved bits.
  const rootTable = Number(valueOf(registers, 'RTADDR') >> 12n)

  return (request) => {
    const { requester, write, length } = request
    const hi = highOf(request.address)
    const lo = lowOf(request.address)
    // Before anything else, and whatever it is.
    if (inInterruptWindow(hi, lo)) return { outcome: { kind: 'interrupt' }, steps: [] }
    const steps: WalkStep[] = []
    const zeroLengthNeed = capabilities.zeroLengthRead ? Need.either : Need.read
    const need = write ? Need.write : length === 0 ? zeroLengthNeed : Need.read
    const result = walk.request(rootTable, requester, hi, lo, need, observer(memory, format, steps))
    return { outcome: result < 0 ? fault(-result, request) : page(result, request), steps }
  }

  function page(mfn: number, request: WalkRequest): WalkOutcome {
    const { rights, leafLevel } = walk
    if (leafLevel === 0) return { kind: 'page', machineAddress: request.address, pageSize: 0, rights }
    const pageSize = 4096 * vtd.pagesPerEntry(leafLevel)
    return { kind: 'page', machineAddress: inFrame(mfn, request.address), pageSize, rights }
  }

  function fault(code: number, { requester, write, address: at }: WalkRequest): WalkFault {
    const silent = walk.faultsDisabled && ((QUALIFIED_REASONS >>> code) & 1) !== 0
    const high = FaultRecord.fault | (write ? 0 : FaultRecord.read) | code
    const record = [at & ~0xfffn, joined(high, requester & FaultRecord.sourceMask)] as const
    const name = `${faultReasonText(code)}${ACCESS_REASONS.has(code) ? failedPlace(memory) : ''}`
    return { kind: 'fault', code, name, record: silent ? null : record }
  }
}

const ACCESS_REASONS: ReadonlySet<number> = new Set([
  FaultReason.rootAccess,
  FaultReason.contextAccess,
  FaultReason.contextInvalid,
  FaultReason.pageEntryAccess,
])

function observer(memory: FileMemory, format: Format, steps: WalkStep[]): WalkObserver {
  let rights = 3
  return {
    entry: (kind, level, mfn, index) => {
      const bytes = kind === 'page' ? 8 : 16
      const at = entryAddress(mfn, index, 8)
      const value = memory.value(at, bytes)
      if (kind === 'page') rights &= Number(value & 3n)
      const fields = fieldsOf(kind === 'page' ? format.page(level, value) : format[kind](value), value)
      steps.push({ entry: kind, level: kind === 'page' ? level : null, address: at, bytes, value, fields, rights })
    },
  }
}

interface Format {
  root(value: bigint): readonly Field[]
  context(value: bigint): readonly Field[]
  page(level: number, value: bigint): readonly Field[]
}

/** Facts A.2. What is reserved depends on what a unit has. Of an entry that is not present, hardware looks at nothing else (but FPD). */
function formatOf({ capabilities, hostAddressBits: width }: VtdPersonality): Format {
  const { domainBits, snoopControl, deviceTlb, pages2M, pages1G } = capabilities
  const root = [bit('P', 0), reserved(1, 11), address('CTP', 12, width - 1), reserved(width, 127)]
  const context = [
    bit('P', 0),
    bit('FPD', 1),
    number('TT', 2, 3, (type) => TYPES[type]!),
    reserved(4, 11),
    address('SSPTPTR', 12, width - 1),
    reserved(width, 63),
    number('AW', 64, 66, (code) => `${code + 2} levels`),
    rare('AVL', 67, 70),
    reserved(71),
    number('DID', 72, 71 + domainBits),
    reserved(72 + domainBits, 127),
  ]
  return {
    root: (value) => ((value & 1n) === 0n ? root.slice(0, 1) : root),
    context: (value) => ((value & 1n) === 0n ? context.slice(0, 2) : context),
    page: (level, value) => {
      const rights = [bit('R', 0), bit('W', 1)]
      if ((value & 3n) === 0n) return rights
      const canBeLarge = (level === 2 && pages2M) || (level === 3 && pages1G)
      const large = canBeLarge && (value & 0x80n) !== 0n
      const leaf = level === 1 || large
      const first = large ? 3 + 9 * level : 12
      return [
        ...rights,
        ...(level === 1 ? [] : [canBeLarge ? bit('PS', 7) : reserved(7)]),
        leaf && snoopControl ? rare('SNP', 11) : reserved(11),
        reserved(12, first - 1),
        address(leaf ? 'page' : 'table', first, width - 1),
        reserved(width, 51),
        ...(deviceTlb ? [rare('TM', 62)] : [reserved(62)]),
      ]
    },
  }
}

const TYPES = ['translated', 'translated, with device TLB', 'passes', 'reserved'] as const
