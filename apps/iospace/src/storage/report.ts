/** What a storage run found: the object that `--json` prints, key for key. */
import type { Protection } from './protection.ts'

export interface AttackRow {
  readonly name: string
  /** The rogue device was told to do it. */
  readonly attempted: boolean
  /** It got as far as the bus. */
  readonly reachedHardware: boolean
  readonly blocked: boolean
  /** Bytes of the target that were different afterwards, before they were put back. */
  readonly bytesChanged: number
  /** The legal access before it succeeded. */
  readonly control: boolean
  /** Its fault arrived in the guest's fault ring. */
  readonly faultSeen: boolean
  /** The target was afterwards what it was before. */
  readonly restored: boolean
  /** Why it was not tried. */
  readonly skipped?: string
}

export interface StorageReport {
  /** Everything went as the configuration promises. */
  readonly ok: boolean
  /** One sentence for each thing that did not. */
  readonly problems: readonly string[]
  readonly dma: string
  readonly iommu: string
  /** Which unit of that kind; null without an IOMMU. */
  readonly personality: string | null
  /** What this IOMMU can and cannot protect. */
  readonly protection: Protection
  readonly seed: number
  /** Of what reached the guest, and of the file, both in hexadecimal; null where a run did not get that far. */
  readonly sha256: string | null
  readonly expectedSha256: string | null
  /** Payload: read, and with `--out` written as well. */
  readonly bytes: number
  /** blkif requests. */
  readonly requests: number
  /** By kind, `iommu_op.map_grant`; their sum is what the guests called. */
  readonly hypercalls: Readonly<Record<string, number>>
  /** In I/O spaces. */
  readonly mappings: { readonly made: number; readonly ended: number }
  /** Payload bytes that the controllers moved through translations. */
  readonly translatedBytes: number
  /** Payload bytes that a CPU copied on their way. */
  readonly cpuCopiedBytes: number
  readonly iotlb: { readonly hits: number; readonly misses: number }
  /** Blocked accesses that the IOMMU recorded. */
  readonly faults: number
  /** References on frames, grants in use and foreign mappings that are left when every domain is gone. */
  readonly references: number
  readonly attacks: readonly AttackRow[]
  /** A model's time, not a measurement. */
  readonly virtualNs: number
  readonly hostMs: number
}
