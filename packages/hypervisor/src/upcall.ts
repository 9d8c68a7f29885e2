/** The event upcall into a domain: posted between tasks, upcalls masked while the handler runs, as an interrupt gate does it. */
import type { Domain } from './domain.ts'

const deliveries = new WeakMap<Domain, () => void>()

/** Posts the upcall of `domain`, once, if its kernel has a handler. */
export function kick(domain: Domain): void {
  if (domain.upcallPosted || domain.upcall === null || domain.dying) return
  let deliver = deliveries.get(domain)
  if (deliver === undefined) {
    deliver = () => run(domain)
    deliveries.set(domain, deliver)
  }
  domain.upcallPosted = true
  domain.tasks.interrupt(deliver)
}

function run(domain: Domain): void {
  domain.upcallPosted = false
  const { ports, upcall } = domain
  if (upcall === null || !ports.upcallDue) return
  ports.maskUpcalls(true)
  try {
    upcall()
  } finally {
    ports.maskUpcalls(false)
  }
  if (ports.upcallDue) kick(domain)
}
