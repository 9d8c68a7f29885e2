/**
 * The control domain's program: serves xenstore, sets limits, builds the domains of its plan, gives them their devices and disks,
 * starts them, watches over them, and takes everything apart at the end.
 */
import type { Kernel } from '@iospace/linux'
import {
  assignDevice,
  attachBlockDevice,
  buildDomain,
  DomainControl,
  LocalClient,
  setLimits,
  startXenstore,
  Supervisor,
  domainPath,
  Right,
  type BuiltDomain,
  type DomainPlan,
  type EndedDomain,
} from '@iospace/toolstack'
import { lendPage } from './lent-page.ts'
import { StateError } from '@iospace/wire'

export interface Dom0Options {
  /** The domains, in the order in which they are made. */
  readonly plan: readonly DomainPlan[]
  /** Called when a domain has been taken apart. */
  readonly onEnded?: (domain: EndedDomain) => void
  /** Runs beside the supervisor once every domain has started: an administrator who does more than watch. */
  readonly administrator?: (hands: Dom0Hands) => Promise<void>
}

/** What an administrator of the control domain works with. */
export interface Dom0Hands {
  readonly kernel: Kernel
  readonly control: DomainControl
  readonly store: LocalClient
  readonly supervisor: Supervisor
  /** The domains of the plan, by name. */
  readonly built: ReadonlyMap<string, BuiltDomain>
}

/** The program. It ends when every domain of the plan is gone. */
export function dom0({ plan, onEnded, administrator }: Dom0Options): (kernel: Kernel) => Promise<void> {
  return async (kernel) => {
    const control = new DomainControl(kernel)
    const store = new LocalClient(startXenstore(kernel))
    const supervisor = new Supervisor(kernel, control, store)
    const built = new Map<string, BuiltDomain>()
    try {
      for (const domain of plan) built.set(domain.name, create(kernel, control, store, supervisor, domain, built))
      if (administrator !== undefined)
        kernel.spawn('administrator', () => administrator({ kernel, control, store, supervisor, built }))
      for (const domain of plan) if (!domain.service) await supervisor.waitFor(built.get(domain.name)!.domid)
      for (const { domid } of [...built.values()].reverse()) await supervisor.shutDown(domid)
    } finally {
      for (const { domid } of [...built.values()].reverse()) await supervisor.destroy(domid)
      for (const domain of supervisor.ended) onEnded?.(domain)
    }
  }
}

function create(
  kernel: Kernel,
  control: DomainControl,
  store: LocalClient,
  supervisor: Supervisor,
  plan: DomainPlan,
  built: ReadonlyMap<string, BuiltDomain>,
): BuiltDomain {
  const domain = buildDomain(kernel, control, plan)
  const { domid, name } = domain
  supervisor.add(domid, name)
  const limited = setLimits(kernel, domid, plan.limits)
  if (limited < 0) throw new StateError(`domain ${name}`, `its limits were refused: ${limited}`)
  for (const { sbdf, name: virtual } of plan.devices) assignDevice(kernel, control, domid, sbdf, virtual)
  introduce(store, domain)
  if (plan.borrows) lendPage(kernel, store, domid)
  for (const disk of plan.disks) {
    const backend = built.get(disk.backend)
    if (backend === undefined) throw new StateError(`disk ${disk.name}`, `no domain ${disk.backend} serves it`)
    const device = { ...disk, frontend: domid, backend: backend.domid }
    attachBlockDevice(store, device)
    supervisor.addDisk(device)
  }
  const started = control.unpause(domid)
  if (started < 0) throw new StateError(`domain ${name}`, `cannot start it: ${started}`)
  return domain
}

/** Makes the domain known to xenstore: its own folder, which it may read, with a part that it may write. */
function introduce(store: LocalClient, { domid, name, storeFrame, storePort }: BuiltDomain): void {
  const path = domainPath(domid)
  store.mkdir(path)
  store.setPermissions(path, [
    { domid: 0, rights: Right.none },
    { domid, rights: Right.read },
  ])
  store.write(`${path}/domid`, domid)
  store.write(`${path}/name`, name)
  for (const own of ['data', 'control/shutdown']) {
    store.mkdir(`${path}/${own}`)
    store.setPermissions(`${path}/${own}`, [{ domid, rights: Right.none }])
  }
  const error = store.introduce(domid, storeFrame, storePort)
  if (error !== null) throw new StateError(`domain ${name}`, `xenstore refused it: ${error}`)
}
