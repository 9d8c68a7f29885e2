/**
 * The bus of front- and back-ends (Linux drivers/xen/xenbus): xenstore directories are its devices, the state node of the other
 * side is its interrupt. A driver gets one task per device and is told each new state of the other side in turn, so it may wait.
 *
 * Front-ends of this domain stand in `device/TYPE/ID`, back-ends in `backend/TYPE/FRONTEND-DOMID/ID`.
 */
import type { WaitQueue } from '@iospace/machine'
import type { Kernel } from '../../kernel.ts'
import { XenbusDevice } from './xenbus-device.ts'
import type { XenstoreClient } from './xenstore-client.ts'

/** One end of a connection, made by a driver's `probe`. */
export interface XenbusEnd {
  /** The other side is now in `state` (XENBUS_STATE; Unknown when its node is gone). Also called once after probe. May wait. */
  otherEndChanged(state: number): Promise<void>
  /** This kernel or the toolstack ends it: give everything back, and leave the state node at Closed. May wait. */
  close(): Promise<void>
}

export interface XenbusDriver {
  readonly name: string
  /** Kind of device: `vbd`, `vif`. */
  readonly type: string
  readonly end: 'frontend' | 'backend'
  probe(device: XenbusDevice): Promise<XenbusEnd>
}

export class Xenbus {
  readonly #kernel: Kernel
  readonly #drivers: XenbusDriver[] = []
  readonly #devices = new Map<string, XenbusDevice>()
  readonly #changed: WaitQueue
  #dirty = false
  #started = false
  #ending = false

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    this.#changed = kernel.queue('a change in xenstore')
  }

  /** Binds `driver` to every device of its kind, those that come later too. Tasks only. */
  async register(driver: XenbusDriver): Promise<void> {
    this.#drivers.push(driver)
    if (!this.#started) {
      this.#started = true
      this.#kernel.spawn('xenbus', () => this.#run(), { daemon: true })
    }
    const root = driver.end === 'frontend' ? 'device' : 'backend'
    await this.#kernel.xenstore.watch(root, () => this.#notice())
  }

  /** Devices that a driver has now. */
  devices(): XenbusDevice[] {
    return [...this.#devices.values()]
  }

  /** @internal Ends every device. */
  async shutdown(): Promise<void> {
    this.#ending = true
    for (const device of [...this.#devices.values()].reverse()) await device.end()
    this.#devices.clear()
  }

  #notice(): void {
    this.#dirty = true
    this.#changed.wake()
  }

  async #run(): Promise<void> {
    while (!this.#ending) {
      while (!this.#dirty) await this.#changed.wait()
      this.#dirty = false
      await this.#scan()
    }
  }

  async #scan(): Promise<void> {
    const { xenstore } = this.#kernel
    for (const driver of this.#drivers) {
      const paths = await list(xenstore, driver)
      for (const path of paths) {
        if (this.#devices.has(path) || this.#ending) continue
        const device = await XenbusDevice.open(this.#kernel, driver, path)
        if (device === null) continue
        this.#devices.set(path, device)
        device.start()
      }
      for (const [path, device] of this.#devices) {
        if (device.driver !== driver || paths.includes(path)) continue
        await device.end()
        this.#devices.delete(path)
      }
    }
  }
}

async function list(xenstore: XenstoreClient, { type, end }: XenbusDriver): Promise<string[]> {
  if (end === 'frontend') return (await xenstore.directory(`device/${type}`)).map((id) => `device/${type}/${id}`)
  const paths: string[] = []
  for (const domid of await xenstore.directory(`backend/${type}`)) {
    for (const id of await xenstore.directory(`backend/${type}/${domid}`)) paths.push(`backend/${type}/${domid}/${id}`)
  }
  return paths
}
