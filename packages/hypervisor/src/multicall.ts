/** `multicall`: entries one after another, each with its own result; a bad entry does not stop the others. Source: xen/common/multicall.c. */
import { Errno, HYPERCALL, multicall_entry } from '@iospace/abi'
import type { Call } from './call.ts'
import type { Dispatcher } from './dispatch.ts'

export function multicall(call: Call, dispatcher: Dispatcher, pointer: number, count: number): number {
  const { core, caller } = call
  call.subop = 0
  if (!(count >= 0 && count <= 0xffff_ffff)) return -Errno.EINVAL
  for (let i = 0; i < count; i++) {
    const at = pointer + i * multicall_entry.size
    const entry = call.read(multicall_entry, at, true)
    if (entry === null) return -Errno.EFAULT
    const [a1, a2, a3] = entry.args.map(Number) as [number, number, number]
    // A multicall inside a multicall would let a guest choose the hypervisor's depth.
    const nested = entry.op === BigInt(HYPERCALL.multicall)
    const result = nested ? -Errno.ENOSYS : dispatcher.enter(caller, Number(entry.op), a1, a2, a3)
    if (caller.dying) return -Errno.ESRCH
    if (!call.writeU64(at + multicall_entry.offsets.result, result)) return -Errno.EFAULT
    core.pause(1)
  }
  return 0
}
