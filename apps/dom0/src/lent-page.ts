/**
 * A page that the control domain lends to a guest by grant, and takes back when the guest says that it is done: so that a guest with a
 * device of its own can show what its device reaches while a grant lasts, and what it no longer reaches afterwards.
 */
import type { Kernel } from '@iospace/linux'
import { domainPath, type LocalClient } from '@iospace/toolstack'

/** Grants a page to `domid` and tells it so in its folder of xenstore: `lent/ref`, then `lent/state` once it has ended. */
export function lendPage(kernel: Kernel, store: LocalClient, domid: number): void {
  const page = kernel.memory.allocate(4096)
  if (page === null) return
  const ref = kernel.grants.grantAccess(domid, page.pfn, false)
  const folder = domainPath(domid)
  store.write(`${folder}/lent/ref`, ref)
  const answered = kernel.queue('the return of a lent page')
  const watch = store.watch(`${folder}/data/lent-page`, () => answered.wakeAll())
  kernel.spawn(
    'lent-page',
    async () => {
      while (store.read(`${folder}/data/lent-page`) !== 'returned') await answered.wait()
      watch.remove()
      if (!kernel.grants.endAccess(ref)) return
      kernel.memory.free(page)
      store.write(`${folder}/lent/state`, 'ended')
    },
    { daemon: true },
  )
}
