/** How xenstored reaches a domain: the domain's xenstore page in a spare slot of ours, and the other end of its event channel. */
import { mapForeign, unmapForeign, type Kernel } from '@iospace/linux'
import { RingConnection } from './ring-connection.ts'
import { Xenstore, type DomainTransport } from './xenstore.ts'

/** xenstored in `kernel`, which is the control domain's. */
export function startXenstore(kernel: Kernel): Xenstore {
  const { hypercalls, events, memory } = kernel
  const transport: DomainTransport = {
    open(domid, frame, remotePort, connect) {
      const page = mapForeign(hypercalls, memory, domid, [frame])
      if (typeof page === 'number') return null
      const port = events.bindInterdomain(domid, remotePort)
      if (port < 0) {
        unmapForeign(hypercalls, memory, page)
        return null
      }
      const ring = new RingConnection(
        page,
        () => void events.send(port),
        (connection, type, transaction, payload) => store.request(connection, type, transaction, payload),
        connect,
        store.store.quota.pendingEvents,
      )
      events.handle(port, () => ring.receive())
      // What it sent before we listened raised no event.
      ring.receive()
      return {
        close: () => {
          events.close(port)
          unmapForeign(hypercalls, memory, page)
        },
      }
    },
  }
  const store: Xenstore = new Xenstore(transport)
  return store
}
