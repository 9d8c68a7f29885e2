/** Making event channels: each returns the new port or a negative errno. */
import { DOMID, EVTCHNSTAT, Errno, NR_VIRQS } from '@iospace/abi'
import { arm } from '../assignment/interrupts.ts'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'

/** A port of `dom` that `remoteDom` may bind to. A domain for itself; the control domain for any. */
export function allocUnbound(core: Core, caller: Domain, dom: number, remoteDom: number): number {
  const domain = core.find(caller, dom)
  if (domain !== caller && !caller.privileged) return -Errno.EPERM
  if (domain === undefined) return -Errno.ESRCH
  const remote = remoteDom === DOMID.SELF ? caller.domid : remoteDom
  const port = domain.ports.allocate(EVTCHNSTAT.unbound, remote)
  return port < 0 ? -Errno.ENOSPC : port
}

export function bindInterdomain(core: Core, caller: Domain, remoteDom: number, remotePort: number): number {
  const remote = core.find(caller, remoteDom)
  if (remote === undefined) return -Errno.ESRCH
  const { ports } = remote
  if (
    !ports.valid(remotePort) ||
    ports.state[remotePort] !== EVTCHNSTAT.unbound ||
    ports.remote[remotePort] !== caller.domid
  )
    return -Errno.EINVAL
  const port = caller.ports.allocate(EVTCHNSTAT.interdomain, remote.domid, remotePort)
  if (port < 0) return -Errno.ENOSPC
  ports.bind(remotePort, EVTCHNSTAT.interdomain, caller.domid, port)
  // What the other end sent before is not lost: the first event may be spurious.
  caller.ports.raise(port)
  return port
}

export function bindVirq(caller: Domain, virq: number, vcpu: number): number {
  if (virq >= NR_VIRQS) return -Errno.EINVAL
  if (vcpu !== 0) return -Errno.ENOENT
  const { ports } = caller
  if (ports.virqPort[virq] !== 0) return -Errno.EEXIST
  const port = ports.allocate(EVTCHNSTAT.virq, virq)
  if (port < 0) return -Errno.ENOSPC
  ports.virqPort[virq] = port
  return port
}

export function bindPirq(core: Core, caller: Domain, number: number): number {
  const pirq = caller.pirqs[number]
  if (pirq === undefined) return -Errno.EINVAL
  if (pirq.port !== 0) return -Errno.EEXIST
  const port = caller.ports.allocate(EVTCHNSTAT.pirq, number)
  if (port < 0) return -Errno.ENOSPC
  pirq.port = port
  arm(core, pirq)
  return port
}

export function bindIpi(caller: Domain, vcpu: number): number {
  if (vcpu !== 0) return -Errno.ENOENT
  const port = caller.ports.allocate(EVTCHNSTAT.ipi, 0)
  return port < 0 ? -Errno.ENOSPC : port
}
