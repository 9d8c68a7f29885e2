/** Using and ending event channels. */
import { EVTCHNSTAT, Errno, type evtchn_status } from '@iospace/abi'
import type { Value } from '@iospace/wire'
import { silence } from '../assignment/interrupts.ts'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'

export function send(core: Core, caller: Domain, port: number): number {
  const { ports } = caller
  if (!ports.valid(port)) return -Errno.EINVAL
  switch (ports.state[port]) {
    case EVTCHNSTAT.interdomain: {
      const remote = core.domains[ports.remote[port]!]
      if (remote !== undefined && !remote.dying) remote.ports.raise(ports.remotePort[port]!)
      return 0
    }
    case EVTCHNSTAT.ipi:
      ports.raise(port)
      return 0
    case EVTCHNSTAT.unbound:
      return 0
    default:
      return -Errno.EINVAL
  }
}

/** Closes a port; the other end of an interdomain channel becomes unbound again, for the same domain. */
export function closePort(core: Core, domain: Domain, port: number): number {
  const { ports } = domain
  if (!ports.valid(port)) return -Errno.EINVAL
  const remote = ports.remote[port]!
  switch (ports.state[port]) {
    case EVTCHNSTAT.interdomain: {
      const other = core.domains[remote]
      if (other !== undefined) other.ports.bind(ports.remotePort[port]!, EVTCHNSTAT.unbound, domain.domid)
      break
    }
    case EVTCHNSTAT.virq:
      ports.virqPort[remote] = 0
      break
    case EVTCHNSTAT.pirq: {
      const pirq = domain.pirqs[remote]
      if (pirq !== undefined) {
        pirq.port = 0
        silence(core, pirq.device)
      }
      break
    }
  }
  ports.free(port)
  return 0
}

/** Closes every port. */
export function resetPorts(core: Core, domain: Domain): void {
  for (let port = 1; port < domain.ports.state.length; port++) {
    if (domain.ports.valid(port)) closePort(core, domain, port)
    if (port % 64 === 0) core.preempt()
  }
}

/** Fills in the OUT fields of `argument`. A domain about itself; the control domain about any. */
export function status(core: Core, caller: Domain, argument: Value<typeof evtchn_status>): number {
  const domain = core.find(caller, argument.dom)
  if (domain !== caller && !caller.privileged) return -Errno.EPERM
  if (domain === undefined) return -Errno.ESRCH
  const { ports } = domain
  const { port } = argument
  if (port === 0 || port >= ports.limit) return -Errno.EINVAL
  argument.vcpu = 0
  argument.status = port < ports.state.length ? ports.state[port]! : EVTCHNSTAT.closed
  switch (argument.status) {
    case EVTCHNSTAT.interdomain:
      argument.u = [ports.remote[port]!, ports.remotePort[port]!]
      break
    case EVTCHNSTAT.unbound:
    case EVTCHNSTAT.pirq:
    case EVTCHNSTAT.virq:
      argument.u = [ports.remote[port]!, 0]
      break
    default:
      argument.u = [0, 0]
  }
  return 0
}
