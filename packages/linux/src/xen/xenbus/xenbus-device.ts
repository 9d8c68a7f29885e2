/** One front- or back-end directory in xenstore, and the task that tells its driver what the other side does. */
import { XENBUS_STATE } from '@iospace/abi'
import type { Task, WaitQueue } from '@iospace/machine'
import type { Kernel } from '../../kernel.ts'
import type { XenbusDriver, XenbusEnd } from './xenbus.ts'
import type { Watch } from './xenstore-client.ts'

export class XenbusDevice {
  readonly kernel: Kernel
  readonly driver: XenbusDriver
  /** Its directory: relative for this domain's own. */
  readonly path: string
  /** The other side's directory, absolute, and its domain. */
  readonly otherPath: string
  readonly otherDomid: number
  /** The last part of the path: for a disk its device number. */
  readonly id: string
  /** XENBUS_STATE of this side, as written last. */
  state: number = XENBUS_STATE.Unknown
  /** XENBUS_STATE of the other side, as read last. */
  otherState: number = XENBUS_STATE.Unknown
  readonly #changed: WaitQueue
  #dirty = false
  #ending = false
  #end: XenbusEnd | null = null
  #watch: Watch | null = null
  #task: Task | null = null

  /** Null while the toolstack has not written yet who the other side is. */
  static async open(kernel: Kernel, driver: XenbusDriver, path: string): Promise<XenbusDevice | null> {
    const other = driver.end === 'frontend' ? 'backend' : 'frontend'
    const otherPath = await kernel.xenstore.read(`${path}/${other}`)
    const otherDomid = await kernel.xenstore.readNumber(`${path}/${other}-id`)
    return otherPath === undefined || otherDomid === undefined
      ? null
      : new XenbusDevice(kernel, driver, path, otherPath, otherDomid)
  }

  private constructor(kernel: Kernel, driver: XenbusDriver, path: string, otherPath: string, otherDomid: number) {
    this.kernel = kernel
    this.driver = driver
    this.path = path
    this.otherPath = otherPath
    this.otherDomid = otherDomid
    this.id = path.slice(path.lastIndexOf('/') + 1)
    this.#changed = kernel.queue(`the other end of ${path}`)
  }

  /** A node of this side. */
  read(name: string): Promise<string | undefined> {
    return this.kernel.xenstore.read(`${this.path}/${name}`)
  }

  readNumber(name: string): Promise<number | undefined> {
    return this.kernel.xenstore.readNumber(`${this.path}/${name}`)
  }

  /** A node of the other side: what it says is not to be trusted. */
  readOther(name: string): Promise<string | undefined> {
    return this.kernel.xenstore.read(`${this.otherPath}/${name}`)
  }

  readOtherNumber(name: string): Promise<number | undefined> {
    return this.kernel.xenstore.readNumber(`${this.otherPath}/${name}`)
  }

  async write(name: string, value: string | number): Promise<void> {
    await this.kernel.xenstore.write(`${this.path}/${name}`, value)
  }

  /** Writes nodes of this side in one transaction, so that the other side sees all of them or none. */
  async publish(nodes: Readonly<Record<string, string | number>>): Promise<void> {
    await this.kernel.xenstore.transaction(async (transaction) => {
      for (const [name, value] of Object.entries(nodes))
        await this.kernel.xenstore.write(`${this.path}/${name}`, value, transaction)
      return true
    })
  }

  /** Tells the other side a new state of this one. */
  async switchState(state: number): Promise<void> {
    if (this.state === state) return
    this.state = state
    await this.write('state', state)
  }

  /** Writes `error` where the toolstack looks for it, and to the log (xenbus_dev_error). */
  async reportError(text: string): Promise<void> {
    this.kernel.log(`${this.driver.name} ${this.path}: ${text}`)
    await this.write('error', text)
  }

  /** Waits until the other side is in one of `states`, or gone. */
  async waitForOther(states: readonly number[]): Promise<void> {
    for (;;) {
      // Before the read: a change that comes while the answer is under way must not be lost.
      this.#dirty = false
      await this.#readOtherState()
      if (this.otherState === XENBUS_STATE.Unknown || states.includes(this.otherState)) return
      while (!this.#dirty) await this.#changed.wait()
    }
  }

  /** @internal Probes and begins to listen. */
  start(): void {
    this.#task = this.kernel.spawn(this.path, () => this.#run(), { daemon: true })
  }

  /** @internal Ends this side. */
  async end(): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    this.#changed.wakeAll()
    await this.#task?.join()
    await this.#end?.close()
    await this.#watch?.remove()
  }

  async #run(): Promise<void> {
    this.#end = await this.driver.probe(this)
    this.#watch = await this.kernel.xenstore.watch(`${this.otherPath}/state`, () => {
      this.#dirty = true
      this.#changed.wakeAll()
    })
    let known = -1
    while (!this.#ending) {
      if (!this.#dirty) {
        await this.#changed.wait()
        continue
      }
      this.#dirty = false
      await this.#readOtherState()
      if (this.otherState === known || this.#ending) continue
      known = this.otherState
      await this.#end.otherEndChanged(known)
    }
  }

  async #readOtherState(): Promise<void> {
    this.otherState = (await this.readOtherNumber('state')) ?? XENBUS_STATE.Unknown
  }
}
