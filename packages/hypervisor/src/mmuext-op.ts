/**
 * `mmuext_op`: pinning frames as page tables, and unpinning them. A page table is no writable memory: no device may write it, so it leaves the
 * mirror, invalidated, before its type changes, and a mapping that could write it stands in the way. Source: xen/arch/x86/mm.c (do_mmuext_op;
 * XSA-252, XSA-288).
 */
import { Errno, MMUEXT, mmuext_op } from '@iospace/abi'
import type { Call } from './call.ts'
import type { Core } from './core.ts'
import type { Domain } from './domain.ts'
import { FrameType } from './frames.ts'
import { showMappings } from './io-space/invalidate.ts'

/** Operations one after another until one fails; how many were done is written to `donePointer`, unless that is 0. */
export function mmuextOp(call: Call, pointer: number, count: number, donePointer: number): number {
  const { core, caller } = call
  call.subop = 0
  if (!(count >= 0 && count <= 0xffff_ffff)) return -Errno.EINVAL
  let done = 0
  let rc = 0
  for (; done < count && rc === 0; done++) {
    const op = call.read(mmuext_op, pointer + done * mmuext_op.size)
    if (op === null) rc = -Errno.EFAULT
    else rc = one(core, caller, op.cmd, core.memory.frameIndex(Number(op.arg1)))
    if (rc !== 0) break
    core.pause(1)
    if (caller.dying) return -Errno.ESRCH
  }
  if (donePointer !== 0 && !call.writeI32(donePointer, done)) return -Errno.EFAULT
  return rc
}

function one(core: Core, domain: Domain, command: number, index: number): number {
  if (command === MMUEXT.UNPIN_TABLE) return unpin(core, domain, index)
  // The pins are 0 to 3, for tables of level 1 to 4.
  return command <= MMUEXT.PIN_L4_TABLE ? pin(core, domain, index, FrameType.l1 + command) : -Errno.ENOSYS
}

function pin(core: Core, domain: Domain, index: number, type: number): number {
  const { frames } = core
  if (!frames.belongsTo(index, domain.domid) || frames.pinned(index)) return -Errno.EINVAL
  if (frames.typeCount(index) > 0) {
    // Held only by invalidations that are pending? Deferral is never visible as an error.
    for (const other of core.domains)
      if (other !== undefined) for (const space of other.spaces) space.deferred.complete()
    if (frames.typeCount(index) > 0) return -Errno.EINVAL
  }
  if (domain.mirror !== null && !(domain.mirror.removeOwn(index) && domain.mirror.complete())) return -Errno.EIO
  return frames.pin(index, type) ? 0 : -Errno.EINVAL
}

function unpin(core: Core, domain: Domain, index: number): number {
  const { frames } = core
  if (frames.owner(index) !== domain.domid || !frames.pinned(index)) return -Errno.EINVAL
  if (domain.mirror !== null && !domain.mirror.addOwn(index)) return -Errno.ENOMEM
  frames.unpin(index)
  if (domain.mirror !== null) showMappings(core)
  return 0
}
