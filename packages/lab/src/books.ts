/** What a run did, in numbers: from the hypervisor's books, the board's counters, and the controllers'. */
import type { DomainUsage } from '@iospace/hypervisor'
import type { System } from './system.ts'

export interface SystemBooks {
  /** Calls by name: `iommu_op.map_grant`. */
  readonly hypercalls: Readonly<Record<string, number>>
  /** Mappings in I/O spaces (a chain is one), and their 4 KiB pages. */
  readonly mappings: {
    readonly made: number
    readonly ended: number
    readonly pagesMade: number
    readonly pagesEnded: number
  }
  /** Granted pages mapped for a CPU. */
  readonly grantMaps: { readonly made: number; readonly ended: number }
  /** References on domains' frames beyond their owners' own: 0 when everything was undone. */
  readonly references: number
  /** Accesses that the IOMMU blocked. */
  readonly faults: number
  readonly iotlb: { readonly hits: number; readonly misses: number }
  /** Payload of NVMe commands by what became of its DMA. */
  readonly payload: { readonly translated: number; readonly untranslated: number }
  /** DMA of all devices: transfers, and bytes. */
  readonly dma: { readonly transfers: number; readonly bytes: number; readonly translatedBytes: number }
  /** Domains that still exist. */
  readonly domains: readonly DomainUsage[]
  /** Virtual ns since power-on. */
  readonly virtualNs: number
}

/** A snapshot of the books of `system`. */
export function readBooks(system: System): SystemBooks {
  const { hypercalls, mappings, grantMaps, references, domains } = system.hypervisor.snapshot()
  const counts = system.machine.clock.snapshot()
  const payload = system.controllers().map(({ counters }) => counters.payload)
  return {
    hypercalls,
    mappings,
    grantMaps,
    references,
    faults: counts.dmaFault,
    iotlb: { hits: counts.iotlbHit, misses: counts.iotlbMiss },
    payload: {
      translated: payload.reduce((sum, { translated }) => sum + translated, 0),
      untranslated: payload.reduce((sum, { untranslated }) => sum + untranslated, 0),
    },
    dma: { transfers: counts.dmaRead + counts.dmaWrite, bytes: counts.dmaByte, translatedBytes: counts.translatedByte },
    domains,
    virtualNs: system.machine.clock.now,
  }
}
