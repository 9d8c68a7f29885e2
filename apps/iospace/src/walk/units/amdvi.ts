/** AMD-Vi with IommuEn and the event log on. Device table: DevTabBase. */
import { type AmdviPersonality, amdviPersonalities } from '@iospace/iommu/hardware'
import { amdvi } from '@iospace/iommu/spec'
import { AmdviNeed, AmdviWalk, type AmdviWalkObserver, inInterruptRange } from '@iospace/iommu/walk'
import { address, bit, type Field, fieldsOf, number, rare, reserved } from '../fields.ts'
import type { FileMemory } from '../memory.ts'
import type { WalkOutcome, WalkRequest, WalkStep } from '../result.ts'
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

const { DeviceFlags, DeviceTableRegister, encodeEvent, eventCode, EventCode, EventFlag, eventName, Fault, faultText } =
  amdvi

const named: Readonly<Record<string, AmdviPersonality>> = amdviPersonalities

export const amdviUnit: WalkUnit = {
  registers: { DevTabBase: 64 },
  personalities: Object.keys(named),
  buses: 256,
  zeroLengthReads: false,
  describe: (personality) =>
    `tables of 1 to ${named[personality]!.features.levels} levels, pages of every power of two`,
  judge,
}

function judge(personality: string, registers: RegisterValues, memory: FileMemory): Judge {
  const walk = new AmdviWalk(memory, named[personality]!.features)
  const base = valueOf(registers, 'DevTabBase')
  const deviceTable = Number((base >> 12n) & 0xff_ffff_ffffn)
  const pages = (lowOf(base) & DeviceTableRegister.sizeMask) + 1

  return (request) => {
    const { requester, write } = request
    const hi = highOf(request.address)
    const lo = lowOf(request.address)
    if (inInterruptRange(hi, lo)) return { outcome: interrupt(request, hi, lo), steps: [] }
    const steps: WalkStep[] = []
    const need = write ? AmdviNeed.write : AmdviNeed.read
    const result = walk.request(deviceTable, pages, requester, hi, lo, need, observer(memory, steps))
    return { outcome: result < 0 ? fault(-result, request) : page(result, request), steps }
  }

  function page(mfn: number, request: WalkRequest): WalkOutcome {
    const { pageRights: rights, pageShift } = walk
    if (pageShift === 0) return { kind: 'page', machineAddress: request.address, pageSize: 0, rights }
    return { kind: 'page', machineAddress: inFrame(mfn, request.address), pageSize: 2 ** pageShift, rights }
  }

  function fault(number: number, { requester, write, address: at }: WalkRequest): WalkOutcome {
    const code = eventCode(number)
    const event = new Int32Array(4)
    const { domain, suppress, failedHi, failedLo, failedType } = walk
    const kind = write ? EventFlag.write : 0
    encodeEvent(event, 0, number, requester, domain, kind, highOf(at), lowOf(at), failedHi, failedLo, failedType)
    // SE silences page faults after the first, which this one is.
    const silent = code === EventCode.pageFault && (suppress & DeviceFlags.suppressAll) !== 0
    const place = number === Fault.deviceTableAccess || number === Fault.pageTableAccess ? failedPlace(memory) : ''
    return {
      kind: 'fault',
      code,
      name: `${eventName(code)}: ${faultText(number)}${place}`,
      record: silent ? null : [joined(event[1]!, event[0]!), joined(event[3]!, event[2]!)],
    }
  }

  // Never translated (AMD 48882 “Special Address Ranges”): an aligned doubleword written to 0xFEExxxxx is a message, everything else an error.
  function interrupt(request: WalkRequest, hi: number, lo: number): WalkOutcome {
    if (!request.write) return fault(Fault.interruptRead, request)
    if (hi !== 0) return fault(Fault.interruptAborted, request)
    const message = request.length === 4 && (lo & 3) === 0
    return message ? { kind: 'interrupt' } : fault(Fault.interruptFormat, request)
  }
}

function observer(memory: FileMemory, steps: WalkStep[]): AmdviWalkObserver {
  let rights = 3
  const push = (
    entry: string,
    level: number | null,
    at: bigint,
    bytes: number,
    format: (value: bigint, level: number) => readonly Field[],
  ) => {
    const value = memory.value(at, bytes)
    // IR and IW are at the same place everywhere; a device table entry that is not valid passes everything.
    if (level !== null || (value & 1n) !== 0n) rights &= Number((value >> 61n) & 3n)
    steps.push({ entry, level, address: at, bytes, value, fields: fieldsOf(format(value, level ?? 0), value), rights })
  }
  return {
    device: (mfn, index) => push('device', null, entryAddress(mfn, index, 8), 32, deviceFields),
    entry: (level, mfn, index) => push('page', level, entryAddress(mfn, index, 8), 8, pageFields),
  }
}

/** Facts B.3. */
function deviceFields(value: bigint): readonly Field[] {
  const valid = bit('V', 0)
  const interrupts = [rare('IV', 128), rare('IntTabLen', 129, 132), rare('IG', 133), rare('IntCtl', 188, 189)]
  if ((value & 1n) === 0n) return [valid, ...interrupts]
  return [
    valid,
    bit('TV', 1),
    reserved(2, 6),
    rare('HAD', 7, 8),
    number('Mode', 9, 11, (mode) => (mode === 0 ? 'no translation' : mode === 7 ? 'reserved' : `${mode} levels`)),
    address('table', 12, 51),
    bit('IR', 61),
    bit('IW', 62),
    reserved(63),
    number('DomainID', 64, 79),
    rare('SE', 97),
    rare('SA', 98),
    ...interrupts,
  ]
}

/** Facts B.4. */
function pageFields(value: bigint, level: number): readonly Field[] {
  // Hardware looks at nothing else of an entry that is not present.
  if ((value & 1n) === 0n) return [bit('PR', 0)]
  const next = Number((value >> 9n) & 7n)
  const leaf = next === 0 || next === 7
  return [
    bit('PR', 0),
    rare('A', 5),
    ...(leaf ? [rare('D', 6)] : []),
    number('NextLevel', 9, 11, () =>
      next === 0 ? 'a page' : next === 7 ? 'a page, its size in the address' : 'a table',
    ),
    leaf ? address('page', pageShift(value, next, level), 51) : address('table', 12, 51),
    reserved(52, leaf ? 58 : 60),
    ...(leaf ? [rare('U', 59), rare('FC', 60)] : []),
    bit('IR', 61),
    bit('IW', 62),
  ]
}

/** The lowest address bit of a leaf that belongs to its page: those below carry the size, or nothing. */
function pageShift(value: bigint, next: number, level: number): number {
  if (next === 0) return 3 + 9 * level
  let zero = 12
  while (((value >> BigInt(zero)) & 1n) !== 0n && zero < 52) zero++
  return zero + 1
}
