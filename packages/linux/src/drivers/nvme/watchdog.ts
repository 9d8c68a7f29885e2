/**
 * Finds commands that are never answered. A daemon that sleeps only while there is something to wait for, so that an idle system has
 * no timer and a stuck one is seen as stuck.
 */
import type { WaitQueue } from '@iospace/machine'
import type { NvmeController } from './controller.ts'
import type { NvmeNamespace } from './namespace.ts'

/** As Linux's nvme_io_timeout: for each command by itself, whatever others do. */
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
    const { kernel } = this.#controller
    while (!this.#stopped) {
      const oldest = namespace.oldest()
      if (oldest === Infinity) {
        this.#waiting = true
        await this.#idle.wait()
        this.#waiting = false
        continue
      }
      const left = oldest + IO_TIMEOUT - kernel.now()
      if (left > 0) {
        await kernel.sleep(left)
        continue
      }
      // An interrupt may have been lost; only a controller that has nothing to show is given up.
      namespace.poll()
      if (namespace.oldest() > oldest) continue
      kernel.log(`${namespace.name}: no answer within ${IO_TIMEOUT / 1e9} s, giving the controller up`)
      this.#controller.failed = true
      await this.#controller.quiesce()
      namespace.fail()
    }
  }
}
