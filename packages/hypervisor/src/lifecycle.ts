/** Start and shutdown of a domain. Its end is teardown's. */
import { Errno, SHUTDOWN } from '@iospace/abi'
import type { Core } from './core.ts'
import type { Domain } from './domain.ts'

/** The domain stops running its programs; its memory and devices stay until the control domain destroys it. */
export function shutDown(core: Core, domain: Domain, reason: number): void {
  if (domain.life === 'shutdown' || domain.dying) return
  domain.life = 'shutdown'
  domain.shutdownReason = reason
  // Its vCPUs stop. What a task has to clean up still runs, with the gate open, until the domain is destroyed.
  domain.tasks.kill()
  core.domainChanged()
}

/** A task or handler of the domain threw, or ran for ever. */
export function crash(core: Core, domain: Domain): void {
  shutDown(core, domain, SHUTDOWN.crash)
}

/** Starts a domain that was built; its kernel begins at the first time only. */
export function unpause(core: Core, domain: Domain): number {
  if (domain.dying || domain.life === 'shutdown') return -Errno.EINVAL
  if (domain.life === 'running') return 0
  const first = domain.life === 'building'
  domain.life = 'running'
  if (first) {
    try {
      core.boot(domain)
    } catch (error) {
      // A kernel that cannot start is its domain's trouble, not that of the one who started it.
      crash(core, domain)
      core.onCrash(domain.domid, error)
    }
  }
  return 0
}
