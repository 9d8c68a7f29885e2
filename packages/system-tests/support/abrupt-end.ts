import { SCHEDOP, sched_shutdown, SHUTDOWN } from '@iospace/abi'
import type { Kernel } from '@iospace/linux'

/** Ends the calling domain as a power cut would: nothing is closed, unmapped or given back. Does not return. */
export async function endAbruptly(kernel: Kernel, reason: number = SHUTDOWN.poweroff): Promise<never> {
  kernel.hypercalls.call('sched_op', SCHEDOP.shutdown, sched_shutdown, { reason })
  for (;;) await kernel.sleep(1e9)
}
