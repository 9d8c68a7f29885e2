/** `event_channel_op`. Source: xen/common/event_channel.c; answers as of Xen 4.17. */
import {
  EVTCHNOP,
  Errno,
  evtchn_alloc_unbound,
  evtchn_bind_interdomain,
  evtchn_bind_ipi,
  evtchn_bind_pirq,
  evtchn_bind_vcpu,
  evtchn_bind_virq,
  evtchn_close,
  evtchn_reset,
  evtchn_send,
  evtchn_status,
  evtchn_unmask,
} from '@iospace/abi'
import type { Call } from '../call.ts'
import { allocUnbound, bindInterdomain, bindIpi, bindPirq, bindVirq } from './bind.ts'
import { closePort, resetPorts, send, status } from './use.ts'

export function eventChannelOp(call: Call, command: number, pointer: number): number {
  const { core, caller } = call
  switch (command) {
    case EVTCHNOP.send: {
      // The hot one: no object.
      if (!core.guest.copyIn(caller.p2m, pointer, call.at, evtchn_send.size)) return -Errno.EFAULT
      return send(core, caller, call.words[call.at >>> 2]! >>> 0)
    }
    case EVTCHNOP.unmask: {
      if (!core.guest.copyIn(caller.p2m, pointer, call.at, evtchn_unmask.size)) return -Errno.EFAULT
      const port = call.words[call.at >>> 2]! >>> 0
      if (!caller.ports.valid(port)) return -Errno.EINVAL
      caller.ports.unmask(port)
      return 0
    }
    case EVTCHNOP.close: {
      const argument = call.read(evtchn_close, pointer)
      return argument === null ? -Errno.EFAULT : closePort(core, caller, argument.port)
    }
    case EVTCHNOP.alloc_unbound: {
      const argument = call.read(evtchn_alloc_unbound, pointer, true)
      if (argument === null) return -Errno.EFAULT
      const port = allocUnbound(core, caller, argument.dom, argument.remote_dom)
      return answer(call, pointer + evtchn_alloc_unbound.offsets.port, port)
    }
    case EVTCHNOP.bind_interdomain: {
      const argument = call.read(evtchn_bind_interdomain, pointer, true)
      if (argument === null) return -Errno.EFAULT
      const port = bindInterdomain(core, caller, argument.remote_dom, argument.remote_port)
      return answer(call, pointer + evtchn_bind_interdomain.offsets.local_port, port)
    }
    case EVTCHNOP.bind_virq: {
      const argument = call.read(evtchn_bind_virq, pointer, true)
      if (argument === null) return -Errno.EFAULT
      return answer(call, pointer + evtchn_bind_virq.offsets.port, bindVirq(caller, argument.virq, argument.vcpu))
    }
    case EVTCHNOP.bind_pirq: {
      const argument = call.read(evtchn_bind_pirq, pointer, true)
      if (argument === null) return -Errno.EFAULT
      return answer(call, pointer + evtchn_bind_pirq.offsets.port, bindPirq(core, caller, argument.pirq))
    }
    case EVTCHNOP.bind_ipi: {
      const argument = call.read(evtchn_bind_ipi, pointer, true)
      if (argument === null) return -Errno.EFAULT
      return answer(call, pointer + evtchn_bind_ipi.offsets.port, bindIpi(caller, argument.vcpu))
    }
    case EVTCHNOP.bind_vcpu: {
      const argument = call.read(evtchn_bind_vcpu, pointer)
      if (argument === null) return -Errno.EFAULT
      if (argument.vcpu !== 0) return -Errno.ENOENT
      return caller.ports.valid(argument.port) ? 0 : -Errno.EINVAL
    }
    case EVTCHNOP.status: {
      const argument = call.read(evtchn_status, pointer, true)
      if (argument === null) return -Errno.EFAULT
      const rc = status(core, caller, argument)
      if (rc !== 0) return rc
      return call.write(evtchn_status, pointer, argument) ? 0 : -Errno.EFAULT
    }
    case EVTCHNOP.reset: {
      const argument = call.read(evtchn_reset, pointer)
      if (argument === null) return -Errno.EFAULT
      const domain = core.find(caller, argument.dom)
      if (domain !== caller && !caller.privileged) return -Errno.EPERM
      if (domain === undefined) return -Errno.ESRCH
      resetPorts(core, domain)
      return 0
    }
    // FIFO ports: a guest falls back to the two-level form.
    default:
      return -Errno.ENOSYS
  }
}

/** Writes an OUT port; passes errors on. */
function answer(call: Call, pointer: number, port: number): number {
  if (port < 0) return port
  return call.writeI32(pointer, port) ? 0 : -Errno.EFAULT
}
