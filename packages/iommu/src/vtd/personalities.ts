/**
 * What a VT-d model can be: the registers of real units (facts A.1), and the widths and cache shapes that no register tells.
 * Cache shapes and latencies are models: neither Intel nor QEMU publishes them.
 */
import type { CacheShape } from '../cache/translation-bank.ts'
import { decodeCapabilities, type VtdCapabilities, type VtdRegisters } from './spec/capabilities.ts'

export interface VtdPersonality extends VtdRegisters {
  readonly name: string
  readonly capabilities: VtdCapabilities
  /** HAW: bits of a machine address, from the platform's DMAR table. */
  readonly hostAddressBits: number
  /** Translations of 4 KiB, 2 MiB and 1 GiB pages. */
  readonly iotlb: CacheShape
  readonly iotlb2M: CacheShape
  readonly iotlb1G: CacheShape
  /** Level-2 entries: they lead to leaf tables. */
  readonly directories: CacheShape
  /** Context entries. */
  readonly contexts: CacheShape
  /** 4 KiB pages whose requests faulted: only a unit in caching mode (CAP.CM) keeps them. */
  readonly absent: CacheShape
  /** Interrupt remapping table entries. */
  readonly interrupts: CacheShape
  readonly timing: VtdTiming
}

/** Virtual ns. */
export interface VtdTiming {
  /** A global command or a register invalidation. */
  readonly command: number
  /** From a tail write to the end of the first descriptor, and for each further one. */
  readonly queue: number
  readonly descriptor: number
  /** How long a posted write may stay on its way. */
  readonly postedWrite: number
  /** How long a device may take to complete an invalidation of its TLB. */
  readonly deviceTlb: number
}

/**
 * Features that silicon has and this model does not have yet; their bits are cleared, so that no driver relies on them.
 * CAP low: AFL, PLMR, PHMR (protected memory regions). ECAP low: DT (device TLBs), and bits 24 up: extended contexts, memory types,
 * nesting, page requests. ECAP high: PASIDs and scalable mode. CAP high: FL1GP, PI (posted interrupts) and above.
 */
const ABSENT = { capLow: 0x68, capHigh: 0xff00_0000 | 0, ecapLow: 0xff00_0004 | 0, ecapHigh: 0xffff_ffff | 0 }

type Silicon = VtdRegisters & Pick<VtdPersonality, 'name' | 'hostAddressBits'> & Partial<VtdPersonality>

function personality(silicon: Silicon): VtdPersonality {
  const registers = {
    version: silicon.version,
    capHigh: silicon.capHigh & ~ABSENT.capHigh,
    capLow: silicon.capLow & ~ABSENT.capLow,
    ecapHigh: silicon.ecapHigh & ~ABSENT.ecapHigh,
    ecapLow: silicon.ecapLow & ~ABSENT.ecapLow,
  }
  return {
    iotlb: { sets: 256, ways: 4 },
    iotlb2M: { sets: 64, ways: 4 },
    iotlb1G: { sets: 16, ways: 1 },
    directories: { sets: 64, ways: 4 },
    contexts: { sets: 64, ways: 4 },
    absent: { sets: 64, ways: 2 },
    interrupts: { sets: 16, ways: 4 },
    timing: { command: 2000, queue: 160, descriptor: 10, postedWrite: 1000, deviceTlb: 100_000 },
    ...silicon,
    ...registers,
    capabilities: decodeCapabilities(registers),
  }
}

export const vtdPersonalities = {
  /**
   * Xeon 5500 I/O hub: 4 KiB pages only, 8 fault records, 256 domains, tables not coherent. The datasheet of the facts leaves ECAP out; this
   * is what kernels print on such boards (“ver 1:0 cap c90780106f0462 ecap f020fe”, host address width 40).
   */
  'nehalem-ep': personality({
    name: 'nehalem-ep',
    version: 0x10,
    capHigh: 0x00c9_0780,
    capLow: 0x106f_0462,
    ecapHigh: 0,
    ecapLow: 0x00f0_20fe,
    hostAddressBits: 40,
  }),
  /** Xeon E5-2600 I/O hub: 4K, 2M and 1G pages, 8 fault records, 256 domains, tables not coherent. */
  'sandybridge-ep': personality({
    name: 'sandybridge-ep',
    version: 0x10,
    capHigh: 0x00d2_078c,
    capLow: 0x106f_0462,
    ecapHigh: 0,
    ecapLow: 0x00f0_20fe,
    hostAddressBits: 46,
  }),
  /**
   * Fourth generation Xeon Scalable (Sapphire Rapids): tables of 4 and 5 levels, one fault record, 65536 domains, coherent, invalidation by
   * queue alone, as kernels print it (“ver 6:0 cap 19ed008c40780c66 ecap 3ee9e86f050df”, host address width 52). It runs in
   * legacy mode here: scalable mode is masked.
   */
  'sapphirerapids-sp': personality({
    name: 'sapphirerapids-sp',
    version: 0x60,
    capHigh: 0x19ed_008c,
    capLow: 0x4078_0c66,
    ecapHigh: 0x0003_ee9e,
    ecapLow: 0x86f0_50df | 0,
    hostAddressBits: 52,
  }),
  /** QEMU's intel-iommu as it starts by default up to 9.x: 3 levels, one fault record, 65536 domains. */
  qemu39: personality({
    name: 'qemu39',
    version: 0x10,
    capHigh: 0x00d2_008c,
    capLow: 0x2226_0206,
    ecapHigh: 0,
    ecapLow: 0x00f0_0f4a,
    hostAddressBits: 39,
  }),
  /** QEMU's intel-iommu with aw-bits=48: 3 and 4 levels. */
  qemu48: personality({
    name: 'qemu48',
    version: 0x10,
    capHigh: 0x00d2_008c,
    capLow: 0x222f_0606,
    ecapHigh: 0,
    ecapLow: 0x00f0_0f4a,
    hostAddressBits: 48,
  }),
} as const satisfies Record<string, VtdPersonality>

export type VtdPersonalityName = keyof typeof vtdPersonalities

/**
 * The personality of a machine that names none: real silicon with every page size and 8 fault records (so that an attack's faults
 * are all seen), whose tables are not coherent (so that a driver that forgets to flush fails here and not on hardware).
 */
export const DEFAULT_VTD: VtdPersonalityName = 'sandybridge-ep'
