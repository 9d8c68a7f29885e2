/** One domain: its memory, ports, grants, devices, I/O spaces, limits and state of life. Behaviour lives with each subject. */
import type { TaskGroup } from '@iospace/machine'
import { DEFAULT_KIND } from '@iospace/abi'
import type { Device } from './assignment/device.ts'
import type { EventPorts } from './event-channel/ports.ts'
import type { Pirq } from './event-channel/pirq.ts'
import type { FaultRing } from './faults/ring.ts'
import type { GrantTable } from './grant-table/table.ts'
import type { Maptrack } from './grant-table/maptrack.ts'
import type { Mirror } from './io-space/mirror.ts'
import { SpaceTable } from './io-space/space-table.ts'
import { MmioPermissions } from './mmio-permissions.ts'
import type { P2m } from './p2m.ts'
import type { DomainView } from './view.ts'

/** What a domain may use of IOMMUs; set by the control domain. */
export interface Limits {
  maxSpaces: number
  maxPinned: number
  maxTablePages: number
  maxDeferred: number
  maxDeferredAge: number
  permissions: number
}

export type Life = 'building' | 'paused' | 'running' | 'shutdown' | 'dying' | 'dead'

export interface DomainParts {
  readonly domid: number
  readonly name: string
  readonly handle: Uint8Array
  readonly flags: number
  readonly tasks: TaskGroup
  readonly p2m: P2m
  readonly sharedInfo: number
  readonly ports: EventPorts
  readonly grants: GrantTable
  readonly maptrack: Maptrack
  readonly limits: Limits
}

export class Domain {
  declare readonly domid: number
  declare readonly name: string
  declare readonly handle: Uint8Array
  /** XEN_DOMCTL_CDF flags of its creation. */
  declare readonly flags: number
  declare readonly tasks: TaskGroup
  declare readonly p2m: P2m
  /** Frame index of its shared_info page. */
  declare readonly sharedInfo: number
  declare readonly ports: EventPorts
  declare readonly grants: GrantTable
  declare readonly maptrack: Maptrack
  declare readonly limits: Limits
  readonly mmio = new MmioPermissions()

  life: Life = 'building'
  shutdownReason = 0
  /** Most frames that it may own. */
  maxPages = 0
  /** Its memory has been given up; only what others hold is left. */
  torn = false
  view: DomainView | null = null

  /** Devices assigned to it. */
  readonly devices: Device[] = []
  /** Interrupts by pirq number. */
  readonly pirqs: (Pirq | undefined)[] = []

  defaultKind: number = DEFAULT_KIND.MIRROR
  /** True once anything was assigned or mapped: the default kind is settled. */
  defaultSettled = false
  /** Default space 0, when it is a mirror and exists. */
  mirror: Mirror | null = null
  /** Spaces by id; 0 is the default space when it is empty. */
  readonly spaces = new SpaceTable()
  spaceCount = 0
  nextSpace = 1
  pinned = 0
  tablePages = 0
  stuck = 0
  faultRing: FaultRing | null = null
  faultSequence = 0
  /** The hardware lost a record that may have been this domain's. */
  faultsLost = false

  /** The guest's upcall handler. */
  upcall: (() => void) | null = null
  upcallPosted = false

  constructor(parts: DomainParts) {
    this.domid = parts.domid
    this.name = parts.name
    this.handle = parts.handle
    this.flags = parts.flags
    this.tasks = parts.tasks
    this.p2m = parts.p2m
    this.sharedInfo = parts.sharedInfo
    this.ports = parts.ports
    this.grants = parts.grants
    this.maptrack = parts.maptrack
    this.limits = parts.limits
  }

  /** Domain 0 may do everything that the control domain may. */
  get privileged(): boolean {
    return this.domid === 0
  }

  /** Pending invalidations of all its spaces. */
  get deferred(): number {
    let entries = 0
    for (const { deferred } of this.spaces) entries += deferred.entries
    return entries
  }

  get dying(): boolean {
    return this.life === 'dying' || this.life === 'dead'
  }
}
