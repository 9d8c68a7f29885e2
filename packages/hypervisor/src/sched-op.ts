/**
 * `sched_op`. A vCPU here is the domain's tasks, which wait by themselves: yield, block and poll return at once (poll may always return
 * early; callers test their ports). Source: xen/common/sched/core.c.
 */
import { Errno, SCHEDOP, SHUTDOWN, sched_poll, sched_shutdown } from '@iospace/abi'
import { Count } from '@iospace/machine'
import type { Call } from './call.ts'
import { shutDown } from './lifecycle.ts'

/** Ports of one poll. */
const MAX_POLL_PORTS = 128

export function schedOp(call: Call, command: number, pointer: number): number {
  const { core, caller } = call
  switch (command) {
    case SCHEDOP.yield:
      core.clock.charge(Count.relax)
      return 0
    case SCHEDOP.block:
      caller.ports.maskUpcalls(false)
      core.clock.charge(Count.relax)
      return 0
    case SCHEDOP.shutdown: {
      const argument = call.read(sched_shutdown, pointer)
      if (argument === null) return -Errno.EFAULT
      if (argument.reason > SHUTDOWN.soft_reset) return -Errno.EINVAL
      shutDown(core, caller, argument.reason)
      return 0
    }
    case SCHEDOP.poll: {
      const argument = call.read(sched_poll, pointer)
      if (argument === null) return -Errno.EFAULT
      if (argument.nr_ports > MAX_POLL_PORTS) return -Errno.EINVAL
      for (let i = 0; i < argument.nr_ports; i++) {
        if (!core.guest.copyIn(caller.p2m, Number(argument.ports) + 4 * i, call.listAt, 4)) return -Errno.EFAULT
        if (!caller.ports.valid(call.words[call.listAt >>> 2]! >>> 0)) return -Errno.EINVAL
      }
      core.clock.charge(Count.relax)
      return 0
    }
    default:
      return -Errno.ENOSYS
  }
}
