import type { Kernel } from '../kernel.ts'

/**
 * Waits until the toolstack asks this domain to stop: `control/shutdown` in xenstore becomes `poweroff`, `reboot` or the like
 * (Linux drivers/xen/manage.c). Acknowledges by emptying the node. What was asked. Tasks only.
 */
export async function shutdownRequest(kernel: Kernel): Promise<string> {
  const { xenstore } = kernel
  const changed = kernel.queue('a shutdown request')
  let dirty = false
  const watch = await xenstore.watch('control/shutdown', () => {
    dirty = true
    changed.wake()
  })
  try {
    for (;;) {
      while (!dirty) await changed.wait()
      dirty = false
      const asked = await xenstore.read('control/shutdown')
      if (asked === undefined || asked === '') continue
      await xenstore.write('control/shutdown', '')
      return asked
    }
  } finally {
    await watch?.remove()
  }
}
