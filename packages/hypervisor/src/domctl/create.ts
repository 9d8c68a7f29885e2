/** `XEN_DOMCTL_createdomain`, and the making of dom0. */
import type { Value } from '@iospace/wire'
import { DOMID, Errno, EVTCHN_2L_NR_CHANNELS, XEN_DOMCTL_CDF, type xen_domctl_createdomain } from '@iospace/abi'
import type { Core } from '../core.ts'
import { Domain, type Limits } from '../domain.ts'
import { EventPorts } from '../event-channel/ports.ts'
import { Maptrack } from '../grant-table/maptrack.ts'
import { GrantTable } from '../grant-table/table.ts'
import { crash } from '../lifecycle.ts'
import { P2m, SPARE_SLOTS } from '../p2m.ts'
import { kick } from '../upcall.ts'

const KNOWN_FLAGS = XEN_DOMCTL_CDF.xs_domain | XEN_DOMCTL_CDF.iommu
export const DEFAULT_GRANT_FRAMES = 64
export const DEFAULT_MAPTRACK_FRAMES = 1024
/** What a domain may use before the control domain has set limits: tables for a mirror, nothing else. */
const FIRST_LIMITS: Limits = {
  maxSpaces: 0,
  maxPinned: 0,
  maxTablePages: 4096,
  maxDeferred: 0,
  maxDeferredAge: 0,
  permissions: 0,
}

/** The new domain's id, or a negative errno. `domid` 0 or reserved: the hypervisor picks. */
export function createDomain(core: Core, domid: number, config: Value<typeof xen_domctl_createdomain>): number {
  // PV only.
  if ((config.flags & ~KNOWN_FLAGS) !== 0) return -Errno.EINVAL
  if ((config.flags & XEN_DOMCTL_CDF.iommu) !== 0 && core.driver === null) return -Errno.EINVAL
  if (config.max_vcpus > 1) return -Errno.EINVAL
  let id = domid
  if (domid === 0 || domid >= DOMID.FIRST_RESERVED) for (id = core.nextDomid; core.domains[id] !== undefined; id++);
  if (id >= DOMID.FIRST_RESERVED) return -Errno.ENOMEM
  if (core.domains[id] !== undefined) return -Errno.EEXIST
  const domain = makeDomain(core, id, {
    handle: config.handle,
    flags: config.flags,
    ports: config.max_evtchn_port === 0 ? EVTCHN_2L_NR_CHANNELS : config.max_evtchn_port + 1,
    grantFrames: config.max_grant_frames < 0 ? DEFAULT_GRANT_FRAMES : config.max_grant_frames,
    maptrackFrames: config.max_maptrack_frames < 0 ? DEFAULT_MAPTRACK_FRAMES : config.max_maptrack_frames,
    limits: { ...FIRST_LIMITS },
  })
  if (domain === null) return -Errno.ENOMEM
  core.nextDomid = Math.max(core.nextDomid, id + 1)
  return id
}

export interface DomainConfig {
  readonly handle: Uint8Array
  readonly flags: number
  readonly ports: number
  readonly grantFrames: number
  readonly maptrackFrames: number
  readonly limits: Limits
}

/** A domain without memory, entered in the table; null when the hypervisor has no frame for it. */
export function makeDomain(core: Core, domid: number, config: DomainConfig): Domain | null {
  const sharedInfo = core.heap.allocate('shared_info')
  if (sharedInfo < 0) return null
  const grants = new GrantTable(core.heap, config.grantFrames)
  if (!grants.grow(Math.min(1, config.grantFrames))) {
    grants.destroy()
    core.heap.free(sharedInfo)
    return null
  }
  const name = core.nameOf(domid, config.handle)
  const domain: Domain = new Domain({
    domid,
    name,
    handle: config.handle,
    flags: config.flags,
    tasks: core.machine.scheduler.group(name, (error) => {
      crash(core, domain)
      core.onCrash(domid, error)
    }),
    p2m: new P2m(SPARE_SLOTS),
    sharedInfo,
    ports: new EventPorts(core.guest, sharedInfo, config.ports, () => kick(domain)),
    grants,
    maptrack: new Maptrack(config.maptrackFrames),
    limits: config.limits,
  })
  core.domains[domid] = domain
  core.machine.trace?.domain(core.clock.now, domid, name)
  return domain
}
