/**
 * Finds commands that are never answered. A daemon that sleeps only while there is something to wait for, so that an idle system has
 * no timer and a stuck one is seen as stuck.
 */
import type { WaitQueue } from '@iospace/machine'
import type { NvmeController } from './controller.ts'
import type { NvmeNamespace } from './namespace.ts'

/** As Linux's nvme_io_timeout. */
const IO_TIMEOUT = 30e9

export class Watchdog {
  readonly #controller: NvmeController
  readonly #idle: WaitQueue
  #stopped = false
  #waiting = false

  constructor(controller: NvmeController) {
    this.#controller = controller
    this.#idle = controller.kernel.queue('work for the disk')
  }

  /** Begins to look after `namespace`. */
  watch(namespace: NvmeNamespace): void {
    this.#controller.kernel.spawn(`${namespace.name}-watchdog`, () => this.#run(namespace), { daemon: true })
  }

  /** Commands go out after a pause. */
  wake(): void {
    if (this.#waiting) this.#idle.wake()
  }

  stop(): void {
    this.#stopped = true
    this.#idle.wakeAll()
  }

  async #run(namespace: NvmeNamespace): Promise<void> {
    while (!this.#stopped) {
      if (namespace.inFlight === 0) {
        this.#waiting = true
        await this.#idle.wait()
        this.#waiting = false
        continue
      }
      const before = namespace.completed
      await this.#controller.kernel.sleep(IO_TIMEOUT)
      if (this.#stopped || namespace.inFlight === 0 || namespace.completed !== before) continue
      // An interrupt may have been lost; only a controller that has nothing to show is given up.
      namespace.poll()
      if (namespace.completed !== before) continue
      this.#controller.kernel.log(`${namespace.name}: no answer within ${IO_TIMEOUT / 1e9} s, giving the controller up`)
      this.#controller.failed = true
      await this.#controller.quiesce()
      namespace.fail()
    }
  }
}
