/** The books as data, for reports and checks. */
import { DOMID } from '@iospace/abi'
import type { Core } from './core.ts'

export interface DomainUsage {
  readonly domid: number
  readonly name: string
  readonly life: string
  /** Frames that it owns. */
  readonly pages: number
  readonly spaces: number
  readonly pinned: number
  readonly tablePages: number
  readonly deferred: number
  readonly stuck: number
  readonly devices: readonly number[]
  /** Grant maps and map_grant handles that it has. */
  readonly grantHandles: number
}

export interface Snapshot {
  /** Calls by name: `iommu_op.map`, `grant_table_op.map_grant_ref`, …. */
  readonly hypercalls: Readonly<Record<string, number>>
  /** Mappings in I/O spaces (a FOLLOWS chain is one), and their pages. */
  readonly mappings: {
    readonly made: number
    readonly ended: number
    readonly pagesMade: number
    readonly pagesEnded: number
  }
  /** GNTTABOP maps. */
  readonly grantMaps: { readonly made: number; readonly ended: number }
  /** References that mappings hold on domains' frames, general and type: 0 when everything was undone. */
  readonly references: number
  readonly faults: {
    readonly reported: number
    readonly lost: number
    readonly suppressed: number
    readonly unowned: number
  }
  /** Interrupt messages with a vector that no pirq has. */
  readonly spuriousInterrupts: number
  readonly freeFrames: number
  readonly hypervisorFrames: number
  readonly domains: readonly DomainUsage[]
}

export function takeSnapshot(core: Core): Snapshot {
  const { books, frames } = core
  return {
    hypercalls: books.hypercalls(),
    mappings: {
      made: books.mappingsMade,
      ended: books.mappingsEnded,
      pagesMade: books.pagesMapped,
      pagesEnded: books.pagesUnmapped,
    },
    grantMaps: { made: books.grantMapsMade, ended: books.grantMapsEnded },
    references: frames.outstanding(),
    faults: {
      reported: books.faultsReported,
      lost: books.faultsLost,
      suppressed: books.faultsSuppressed,
      unowned: books.faultsUnowned,
    },
    spuriousInterrupts: core.devices.vectors.spurious,
    freeFrames: frames.free,
    hypervisorFrames: frames.owned[DOMID.XEN]!,
    domains: core.domains
      .filter((domain) => domain !== undefined)
      .map((domain) => ({
        domid: domain.domid,
        name: domain.name,
        life: domain.life,
        pages: frames.owned[domain.domid]!,
        spaces: domain.spaceCount,
        pinned: domain.pinned,
        tablePages: domain.tablePages,
        deferred: domain.deferred,
        stuck: domain.stuck,
        devices: domain.devices.map((device) => device.sbdf),
        grantHandles: domain.maptrack.used,
      })),
  }
}
