/** What the verb needs of a kind of IOMMU: how a file describes it, and how it judges a request. */
import type { FileMemory } from '../memory.ts'
import type { WalkRequest, WalkResult } from '../result.ts'

/** Values of registers that a file gives; the others have their reset value, 0 for all there are here. */
export type RegisterValues = ReadonlyMap<string, bigint>

/** Judges one request, with nothing in caches and logs. */
export type Judge = (request: WalkRequest) => WalkResult

export interface WalkUnit {
  /** Name and width in bits of the registers that a walk starts from. */
  readonly registers: Readonly<Record<string, 32 | 64>>
  readonly personalities: readonly string[]
  /** Buses that the unit stands in front of: those below this. */
  readonly buses: number
  /** Whether reads of no bytes exist: PCI Express fences that a device sends. */
  readonly zeroLengthReads: boolean
  /** What a personality is, in a few words for people. */
  describe(personality: string): string
  /** The unit, switched on. */
  judge(personality: string, registers: RegisterValues, memory: FileMemory): Judge
}

/** The value of a register: that of the file, or the reset value. */
export const valueOf = (registers: RegisterValues, name: string): bigint => registers.get(name) ?? 0n

/** Upper and lower 32 bits as walkers take them. */
export const highOf = (value: bigint): number => Number(BigInt.asIntN(32, value >> 32n))
export const lowOf = (value: bigint): number => Number(BigInt.asIntN(32, value))

/** Two 32-bit halves, each of any sign, as one number. */
export const joined = (high: number, low: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)

/** Frame `mfn` with the place of `address` in it. */
export const inFrame = (mfn: number, address: bigint): bigint => (BigInt(mfn) << 12n) | (address & 0xfffn)

/** Address of entry `index` of `bytes` each in frame `mfn`. */
export const entryAddress = (mfn: number, index: number, bytes: number): bigint =>
  (BigInt(mfn) << 12n) + BigInt(index * bytes)

/** ` at 0x1000` where an access failed; nothing where none did. */
export const failedPlace = ({ failedAt }: FileMemory): string =>
  failedAt === null ? '' : ` at 0x${failedAt.toString(16)}`
