/**
 * `memory_op`: a domain's memory and its numbering. Operations on extents return how many were done, never an errno, as in Xen.
 * Source: xen/common/memory.c.
 */
import {
  Errno,
  XENMEM,
  xen_add_to_physmap,
  xen_add_to_physmap_batch,
  xen_memory_exchange,
  xen_memory_reservation,
  xen_remove_from_physmap,
} from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { exchange } from './exchange.ts'
import { addToPhysmap, addToPhysmapBatch, removeFromPhysmap } from './physmap.ts'
import { decrease, populate } from './reservation.ts'

export function memoryOp(call: Call, command: number, pointer: number): number {
  const { core } = call
  switch (command) {
    case XENMEM.populate_physmap:
    case XENMEM.increase_reservation:
    case XENMEM.decrease_reservation: {
      const reservation = call.read(xen_memory_reservation, pointer)
      const domain = reservation === null ? undefined : target(call, reservation.domid)
      if (reservation === null || domain === undefined || typeof domain === 'number') return 0
      return command === XENMEM.decrease_reservation
        ? decrease(call, domain, reservation)
        : populate(call, domain, reservation, command === XENMEM.populate_physmap)
    }
    case XENMEM.exchange: {
      const argument = call.read(xen_memory_exchange, pointer, true)
      if (argument === null) return -Errno.EFAULT
      const domain = target(call, argument.in.domid)
      if (typeof domain === 'number') return domain
      const rc = exchange(call, domain, argument)
      return call.writeU64(pointer + xen_memory_exchange.offsets.nr_exchanged, Number(argument.nr_exchanged))
        ? rc
        : -Errno.EFAULT
    }
    case XENMEM.maximum_ram_page:
      return core.mfn(core.frames.frames - 1)
    case XENMEM.current_reservation:
    case XENMEM.maximum_reservation:
    case XENMEM.maximum_gpfn: {
      if (!core.guest.copyIn(call.caller.p2m, pointer, call.at, 2)) return -Errno.EFAULT
      const domain = target(call, call.words[call.at >>> 2]! & 0xffff)
      if (typeof domain === 'number') return domain
      if (command === XENMEM.current_reservation) return core.frames.owned[domain.domid]!
      return command === XENMEM.maximum_reservation ? domain.maxPages : domain.p2m.pages - 1
    }
    case XENMEM.add_to_physmap: {
      const argument = call.read(xen_add_to_physmap, pointer)
      if (argument === null) return -Errno.EFAULT
      const domain = target(call, argument.domid)
      if (typeof domain === 'number') return domain
      return addToPhysmap(call, domain, argument.space, Number(argument.idx), Number(argument.gpfn), undefined)
    }
    case XENMEM.add_to_physmap_batch: {
      const argument = call.read(xen_add_to_physmap_batch, pointer)
      if (argument === null) return -Errno.EFAULT
      const domain = target(call, argument.domid)
      return typeof domain === 'number' ? domain : addToPhysmapBatch(call, domain, argument)
    }
    case XENMEM.remove_from_physmap: {
      const argument = call.read(xen_remove_from_physmap, pointer)
      if (argument === null) return -Errno.EFAULT
      const domain = target(call, argument.domid)
      return typeof domain === 'number' ? domain : removeFromPhysmap(call, domain, Number(argument.gpfn))
    }
    default:
      return -Errno.ENOSYS
  }
}

/** The domain that a call is about: the caller itself, or for the control domain any. */
function target(call: Call, domid: number): Domain | number {
  const domain = call.core.find(call.caller, domid)
  if (domain === call.caller) return domain
  if (!call.caller.privileged) return -Errno.EPERM
  return domain === undefined || domain.dying ? -Errno.ESRCH : domain
}
