/** How an unmap ends: everything completed, or a ticket for later. */
import { Errno } from '@iospace/abi'
import type { Call } from '../call.ts'
import { armAge } from '../io-space/age.ts'
import type { Space } from '../io-space/space.ts'

/** Whether this call's invalidations may stay pending: asked for, or the space's habit; never without a limit for it. */
export function mayDefer(space: Space, asked: boolean): boolean {
  return (asked || space.defers) && space.domain.limits.maxDeferred > 0
}

/** Completes the invalidations, or with `defer` gives out a ticket: written to the argument at `ticketAt` (0: nothing is pending). 0 or `EIO`. */
export function finishUnmap(call: Call, space: Space, defer: boolean, ticketAt: number): number {
  const { core, argument } = call
  const { deferred, domain } = space
  let ticket = 0
  let complete = true
  if (defer) {
    ticket = deferred.ticket()
    // Beyond the limit the hypervisor flushes by itself.
    if (domain.deferred > domain.limits.maxDeferred) {
      for (const other of domain.spaces) if (!other.deferred.complete()) complete = false
    } else armAge(core, space)
  } else complete = deferred.complete()
  argument.write32(core.memory, ticketAt, ticket | 0)
  argument.write32(core.memory, ticketAt + 4, Math.floor(ticket / 2 ** 32))
  return complete ? 0 : -Errno.EIO
}
