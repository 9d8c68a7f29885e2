/** `console_io`: writes to the injected sink; nothing can be read. Source: xen/drivers/char/console.c. */
import { CONSOLEIO, Errno } from '@iospace/abi'
import { Count } from '@iospace/machine'
import { type Call, LIST_BYTES } from './call.ts'

export function consoleIo(call: Call, command: number, count: number, pointer: number): number {
  if (command === CONSOLEIO.read) return call.caller.privileged ? 0 : -Errno.EPERM
  if (command !== CONSOLEIO.write) return -Errno.ENOSYS
  const { core, caller } = call
  if (!(count >= 0 && count <= 0x7fff_ffff)) return -Errno.EINVAL
  for (let done = 0; done < count;) {
    const piece = Math.min(count - done, LIST_BYTES)
    if (!core.guest.copyIn(caller.p2m, pointer + done, call.listAt, piece)) return -Errno.EFAULT
    core.console(caller.domid, core.memory.bytes.slice(call.listAt, call.listAt + piece))
    done += piece
    core.clock.charge(Count.guestCopyByte, piece)
    core.pause(1)
  }
  return 0
}
