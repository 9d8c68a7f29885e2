/** CAP and ECAP: what a unit says about itself, as two 32-bit halves each, and decoded. Source: facts A.1. */
import { widthOf } from './entries.ts'

/** The raw registers of a unit. */
export interface VtdRegisters {
  /** VER. */
  readonly version: number
  readonly capHigh: number
  readonly capLow: number
  readonly ecapHigh: number
  readonly ecapLow: number
}

/** CAP bits of the lower half. */
export const Capability = {
  /** 2:0 ND: domain ids have 4 + 2×ND bits. */
  domainsMask: 0x7,
  advancedFaultLog: 0x8,
  /** RWBF: software must flush the write buffer after table updates. */
  writeBufferFlush: 0x10,
  protectedLowMemory: 0x20,
  protectedHighMemory: 0x40,
  /** CM: not-present entries may be cached. */
  cachingMode: 0x80,
  /** 12:8 SAGAW: bit 1 = 3 levels (39 bits), bit 2 = 4 (48), bit 3 = 5 (57). */
  widthsShift: 8,
  widthsMask: 0x1f,
  /** 21:16 MGAW − 1. */
  addressWidthShift: 16,
  addressWidthMask: 0x3f,
  /** ZLR: zero-length reads of write-only pages pass. */
  zeroLengthRead: 0x40_0000,
} as const

/** CAP bits of the upper half. FRO lies across both: 33:24. */
export const CapabilityHigh = {
  /** 35:34 SLLPS. */
  pages2M: 0x4,
  pages1G: 0x8,
  /** PSI: page-selective invalidation. */
  pageInvalidation: 0x80,
  /** 47:40 NFR − 1: fault recording registers. */
  recordsShift: 8,
  recordsMask: 0xff,
  /** 53:48 MAMV: largest AM. */
  maxOrderShift: 16,
  maxOrderMask: 0x3f,
  drainWrites: 0x40_0000,
  drainReads: 0x80_0000,
} as const

/** ECAP bits of the lower half. */
export const ExtendedCapability = {
  /** C: page walks are coherent with CPU caches. */
  coherent: 0x1,
  /** QI: queued invalidation. */
  queue: 0x2,
  deviceTlb: 0x4,
  /** IR: interrupt remapping. */
  interruptRemapping: 0x8,
  /** EIM: IRTA.EIME exists. */
  extendedInterrupts: 0x10,
  /** PT: pass-through context entries. */
  passThrough: 0x40,
  /** SC: bit 11 of leaf entries is the snoop bit. */
  snoopControl: 0x80,
  /** 17:8 IRO: IVA and IOTLB registers at IRO × 16. */
  iotlbShift: 8,
  iotlbMask: 0x3ff,
  /** 23:20 MHMV: largest mask of an interrupt entry invalidation. */
  maxIndexOrderShift: 20,
  maxIndexOrderMask: 0xf,
} as const

/** The capabilities that the model and the driver act upon. */
export interface VtdCapabilities {
  readonly domainBits: number
  readonly cachingMode: boolean
  readonly writeBufferFlush: boolean
  /** SAGAW as a mask of levels: bit n for n-level tables. */
  readonly levels: number
  /** MGAW: bits of an I/O address. */
  readonly addressBits: number
  readonly zeroLengthRead: boolean
  /** Byte offset of the first fault record, and how many there are. */
  readonly faultRecordOffset: number
  readonly faultRecords: number
  readonly pages2M: boolean
  readonly pages1G: boolean
  readonly pageInvalidation: boolean
  readonly maxOrder: number
  readonly drainReads: boolean
  readonly drainWrites: boolean
  readonly coherent: boolean
  readonly queue: boolean
  readonly passThrough: boolean
  readonly snoopControl: boolean
  readonly deviceTlb: boolean
  readonly interruptRemapping: boolean
  readonly extendedInterrupts: boolean
  readonly maxIndexOrder: number
  /** Byte offset of IVA. */
  readonly iotlbOffset: number
}

/** Decodes CAP and ECAP. */
export function decodeCapabilities({
  capHigh,
  capLow,
  ecapLow,
}: Omit<VtdRegisters, 'version' | 'ecapHigh'>): VtdCapabilities {
  const low = (mask: number) => (capLow & mask) !== 0
  const high = (mask: number) => (capHigh & mask) !== 0
  const extended = (mask: number) => (ecapLow & mask) !== 0
  return {
    domainBits: 4 + 2 * (capLow & Capability.domainsMask),
    cachingMode: low(Capability.cachingMode),
    writeBufferFlush: low(Capability.writeBufferFlush),
    levels: ((capLow >>> Capability.widthsShift) & Capability.widthsMask) << 2,
    addressBits: ((capLow >>> Capability.addressWidthShift) & Capability.addressWidthMask) + 1,
    zeroLengthRead: low(Capability.zeroLengthRead),
    faultRecordOffset: (((capHigh & 0x3) << 8) | (capLow >>> 24)) * FAULT_UNIT,
    faultRecords: ((capHigh >>> CapabilityHigh.recordsShift) & CapabilityHigh.recordsMask) + 1,
    pages2M: high(CapabilityHigh.pages2M),
    pages1G: high(CapabilityHigh.pages1G),
    pageInvalidation: high(CapabilityHigh.pageInvalidation),
    maxOrder: (capHigh >>> CapabilityHigh.maxOrderShift) & CapabilityHigh.maxOrderMask,
    drainReads: high(CapabilityHigh.drainReads),
    drainWrites: high(CapabilityHigh.drainWrites),
    coherent: extended(ExtendedCapability.coherent),
    queue: extended(ExtendedCapability.queue),
    passThrough: extended(ExtendedCapability.passThrough),
    snoopControl: extended(ExtendedCapability.snoopControl),
    deviceTlb: extended(ExtendedCapability.deviceTlb),
    interruptRemapping: extended(ExtendedCapability.interruptRemapping),
    extendedInterrupts: extended(ExtendedCapability.extendedInterrupts),
    maxIndexOrder: (ecapLow >>> ExtendedCapability.maxIndexOrderShift) & ExtendedCapability.maxIndexOrderMask,
    iotlbOffset: ((ecapLow >>> ExtendedCapability.iotlbShift) & ExtendedCapability.iotlbMask) * FAULT_UNIT,
  }
}

/** FRO and IRO count units of 16 bytes. */
const FAULT_UNIT = 16

/** The widths in bits that tables may have: SAGAW, as {@link VtdCapabilities.levels}. */
export function tableWidths({ levels }: VtdCapabilities): number[] {
  return [3, 4, 5].filter((count) => (levels & (1 << count)) !== 0).map((count) => widthOf(count))
}
