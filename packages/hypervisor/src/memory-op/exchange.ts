/**
 * `XENMEM_exchange`: gives extents back and gets as much memory in extents of another size or address width: how a PV domain makes a buffer
 * contiguous in the machine. Each output extent takes over the slots of the input frames that it replaces. Source: xen/common/memory.c.
 */
import type { Value } from '@iospace/wire'
import { Errno, type xen_memory_exchange } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { FrameType, type FrameTable } from '../frames.ts'
import { SlotKind } from '../p2m.ts'
import { enterMirror } from './reservation.ts'

const MAX_ORDER = 9

/** Sets `nr_exchanged` to the input extents done. */
export function exchange(call: Call, domain: Domain, argument: Value<typeof xen_memory_exchange>): number {
  const { core } = call
  const give = argument.in
  const take = argument.out
  // The cursor is ours: a guest that brings its own is refused (XSA-212).
  if (argument.nr_exchanged !== 0n) return -Errno.EINVAL
  if (give.domid !== take.domid) return -Errno.EINVAL
  if (give.extent_order > MAX_ORDER || take.extent_order > MAX_ORDER) return -Errno.EPERM
  const givePages = Number(give.nr_extents) * 2 ** give.extent_order
  if (givePages !== Number(take.nr_extents) * 2 ** take.extent_order || givePages >= 2 ** 32) return -Errno.EINVAL
  const chunk = Math.max(2 ** give.extent_order, 2 ** take.extent_order)
  const addressBits = take.mem_flags & 0xff || 64
  for (let page = 0; page < givePages; page += chunk) {
    const rc = exchangeChunk(call, domain, argument, page, chunk, addressBits)
    if (rc !== 0) return rc
    argument.nr_exchanged = BigInt((page + chunk) / 2 ** give.extent_order)
    core.preempt()
    if (domain.dying) return -Errno.ESRCH
  }
  return 0
}

function exchangeChunk(
  call: Call,
  domain: Domain,
  { in: give, out: take }: Value<typeof xen_memory_exchange>,
  page: number,
  chunk: number,
  addressBits: number,
): number {
  const { core, caller } = call
  const { frames, memory } = core
  const old: number[] = []
  const pfns: number[] = []
  for (let i = 0; i < chunk; i += 2 ** give.extent_order) {
    const mfn = call.readU64(Number(give.extent_start) + 8 * ((page + i) / 2 ** give.extent_order))
    if (mfn < 0) return -Errno.EFAULT
    for (let j = 0; j < 2 ** give.extent_order; j++) {
      const index = memory.frameIndex(mfn + j)
      // A frame that something else still refers to would stay, and the domain would have more than its share.
      if (
        !frames.belongsTo(index, domain.domid) ||
        frames.count(index) !== 1 ||
        frames.pinned(index) ||
        old.includes(index)
      )
        return -Errno.EINVAL
      old.push(index)
      pfns.push(domain.p2m.find(index))
    }
  }
  const outs = chunk / 2 ** take.extent_order
  const list = Number(take.extent_start) + 8 * (page / 2 ** take.extent_order)
  if (!core.guest.writable(caller.p2m, list, 8 * outs)) return -Errno.EFAULT
  const fresh: number[] = []
  for (let i = 0; i < outs; i++) {
    const first = frames.allocateRun(domain.domid, take.extent_order, addressBits)
    if (first < 0) {
      for (const index of fresh) frames.release(index)
      return -Errno.ENOMEM
    }
    for (let j = 0; j < 2 ** take.extent_order; j++) fresh.push(first + j)
  }
  if (!enterMirror(core, domain, fresh)) return -Errno.ENOMEM
  if (!keepDevicesFrom(domain, frames, old)) {
    if (domain.mirror !== null) domain.mirror.withdraw(fresh)
    return -Errno.EIO
  }
  for (let i = 0; i < chunk; i++) {
    frames.release(old[i]!)
    if (pfns[i]! >= 0) domain.p2m.set(pfns[i]!, fresh[i]!, SlotKind.memory)
  }
  for (let i = 0; i < outs; i++) call.writeU64(list + 8 * i, core.mfn(fresh[i * 2 ** take.extent_order]!))
  return 0
}

/**
 * Takes frames out of the domain's mirror, and waits until no device reaches them. All or none: false, with them in it again, where an entry
 * cannot be cleared or the unit does not answer.
 */
function keepDevicesFrom({ mirror }: Domain, frames: FrameTable, taken: readonly number[]): boolean {
  if (mirror === null) return true
  let out = 0
  while (out < taken.length && mirror.removeOwn(taken[out]!)) out++
  if (out === taken.length && mirror.complete()) return true
  // What is used as something else than memory was not in it.
  for (const index of taken.slice(0, out)) if (frames.typeOf(index) === FrameType.writable) mirror.addOwn(index)
  return false
}
