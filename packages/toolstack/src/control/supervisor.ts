/**
 * Watches over the domains: the hypervisor raises VIRQ_DOM_EXC when one shuts down or crashes, and the supervisor takes it apart:
 * its disks first, then its xenstore connection, then the domain itself. The others go on.
 */
import { Errno, SHUTDOWN, VIRQ, XENBUS_STATE } from '@iospace/abi'
import type { Kernel } from '@iospace/linux'
import { backendPath, frontendPath, type BlockDevice } from '../devices/block-device.ts'
import type { LocalClient } from '../xenstore/local-client.ts'
import { domainPath } from '../xenstore/path.ts'
import type { DomainControl } from './domain-control.ts'
import { must } from './failure.ts'

export type EndReason = keyof typeof SHUTDOWN | 'destroyed'

/** A domain that is gone. */
export interface EndedDomain {
  readonly domid: number
  readonly name: string
  readonly reason: EndReason
}

type WaitQueue = ReturnType<Kernel['queue']>

/** How long a domain may take to end by itself when it is asked to, in virtual ns. */
const SHUTDOWN_TIMEOUT = 10e9
/** How long a back-end may take to let a dead domain's disk go, in virtual ns. */
const BACKEND_TIMEOUT = 2e9

export class Supervisor {
  readonly #kernel: Kernel
  readonly #control: DomainControl
  readonly #store: LocalClient
  readonly #alive = new Map<number, string>()
  /** Being taken apart. */
  readonly #ending = new Set<number>()
  readonly #disks: BlockDevice[] = []
  readonly #changed: WaitQueue
  /** Domains that ended, in order. */
  readonly ended: EndedDomain[] = []

  constructor(kernel: Kernel, control: DomainControl, store: LocalClient) {
    this.#kernel = kernel
    this.#control = control
    this.#store = store
    this.#changed = kernel.queue('the end of a domain')
    const port = must('supervisor', 'bind VIRQ_DOM_EXC', kernel.events.bindVirq(VIRQ.DOM_EXC))
    kernel.events.handle(port, () => this.#changed.wakeAll())
  }

  /** Takes a domain under supervision. */
  add(domid: number, name: string): void {
    this.#alive.set(domid, name)
  }

  /** Takes note of a disk, to be let go when either of its domains ends. */
  addDisk(disk: BlockDevice): void {
    this.#disks.push(disk)
  }

  /** Waits until `domid` has ended by itself, and has been taken apart; others that end meanwhile are taken apart too. */
  async waitFor(domid: number): Promise<EndedDomain> {
    for (;;) {
      await this.#reap()
      const ended = this.ended.find((domain) => domain.domid === domid)
      if (ended !== undefined) return ended
      await this.#changed.wait()
    }
  }

  /** Asks a domain to end in order (xenstore's `control/shutdown`), gives it time to, and takes it apart. */
  async shutDown(domid: number): Promise<void> {
    if (!this.#alive.has(domid)) return await this.destroy(domid)
    this.#store.write(`${domainPath(domid)}/control/shutdown`, 'poweroff')
    const deadline = this.#kernel.now() + SHUTDOWN_TIMEOUT
    for (;;) {
      await this.#reap()
      const left = deadline - this.#kernel.now()
      if (!this.#alive.has(domid) || left <= 0) break
      await this.#changed.waitAtMost(left)
    }
    await this.destroy(domid)
  }

  /** Takes a domain apart, whether or not it has ended; where another task is at it, waits until that is done. */
  async destroy(domid: number): Promise<void> {
    const name = this.#alive.get(domid)
    while (this.#ending.has(domid)) await this.#changed.wait()
    if (name === undefined) return
    const { shutdown } = this.#control.info(domid) ?? { shutdown: null }
    const reason = Object.entries(SHUTDOWN).find(([, code]) => code === shutdown)?.[0] as EndReason | undefined
    this.#alive.delete(domid)
    this.#ending.add(domid)
    await this.#releaseDisks(domid)
    this.#store.release(domid)
    this.#store.remove(domainPath(domid))
    const result = this.#control.destroy(domid)
    // Gone already, by a call that did not come from here: what was left to do is done.
    if (result !== -Errno.ESRCH) must(`domain ${name}`, 'destroy it', result)
    this.#ending.delete(domid)
    this.ended.push({ domid, name, reason: reason ?? 'destroyed' })
    this.#changed.wakeAll()
  }

  /** Takes apart what has ended. Taking one apart waits, and another may end meanwhile: so until none is found. */
  async #reap(): Promise<void> {
    for (let found = true; found;) {
      found = false
      for (const domid of this.#alive.keys()) {
        const info = this.#control.info(domid)
        if (info !== null && info.shutdown === null && !info.dying) continue
        await this.destroy(domid)
        found = true
      }
    }
  }

  async #releaseDisks(domid: number): Promise<void> {
    for (const disk of this.#disks.filter(({ frontend, backend }) => frontend === domid || backend === domid)) {
      this.#disks.splice(this.#disks.indexOf(disk), 1)
      const back = backendPath(disk)
      if (disk.backend === domid) {
        // Nobody is left to close it: tell the front-end that it is gone.
        this.#store.write(`${back}/state`, XENBUS_STATE.Closed)
        continue
      }
      // A front-end that is gone lets the back-end close; one that closed in order has it done already.
      this.#store.remove(frontendPath(disk))
      await this.#closed(`${back}/state`)
      this.#store.remove(back)
    }
  }

  /** Waits until a back-end has closed; one that does not is left to the end of its own domain. */
  async #closed(state: string): Promise<void> {
    const done = (): boolean => {
      const now = Number(this.#store.read(state) ?? XENBUS_STATE.Closed)
      return now === XENBUS_STATE.Closed || now === XENBUS_STATE.Unknown || now === XENBUS_STATE.Initialising
    }
    const queue = this.#kernel.queue('a back-end to close')
    const watch = this.#store.watch(state, () => queue.wakeAll())
    const deadline = this.#kernel.now() + BACKEND_TIMEOUT
    while (!done() && (await queue.waitAtMost(Math.max(0, deadline - this.#kernel.now())))) continue
    watch.remove()
  }
}
