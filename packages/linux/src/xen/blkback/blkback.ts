/**
 * The block back-end: serves this domain's disks to other domains (Linux drivers/block/xen-blkback/xenbus.c).
 *
 * The toolstack writes `params` (name of the disk here), `mode` (`r` or `w`) and `size-bytes` (bytes that mean something) into the
 * back-end's directory. The back-end writes `feature-flush-cache`, then `sectors`, `sector-size`, `info`.
 */
import { VDISK, XENBUS_STATE, type BlkifProtocol } from '@iospace/abi'
import type { WaitQueue } from '@iospace/machine'
import { SECTOR_SIZE, type BlockDevice } from '../../block/block-device.ts'
import { BLKIF_LAYOUTS } from '../io/blkif-protocol.ts'
import type { XenbusDevice } from '../xenbus/xenbus-device.ts'
import type { XenbusDriver, XenbusEnd } from '../xenbus/xenbus.ts'
import { BlkbackStats } from './blkback-stats.ts'
import { BlkbackConnection } from './connection.ts'

const DEFAULT_PROTOCOL = 'x86_64-abi'

export class Blkback implements XenbusDriver {
  readonly name = 'blkback'
  readonly type = 'vbd'
  readonly end = 'backend'
  /** Of all connections so far. */
  readonly stats = new BlkbackStats()

  async probe(device: XenbusDevice): Promise<XenbusEnd> {
    const { kernel } = device
    const name = (await device.read('params')) ?? ''
    const disk = kernel.block.get(name) ?? null
    if (disk === null) await device.reportError(`there is no disk ${name} here`)
    else await device.publish({ 'feature-flush-cache': 1, 'feature-barrier': 0, 'feature-discard': 0 })
    const readonly = disk === null || disk.readonly || (await device.read('mode')) !== 'w'
    await device.switchState(disk === null ? XENBUS_STATE.Closed : XENBUS_STATE.InitWait)
    return new Backend(device, disk, readonly, this.stats)
  }
}

class Backend implements XenbusEnd {
  readonly #device: XenbusDevice
  readonly #disk: BlockDevice | null
  readonly #readonly: boolean
  readonly #stats: BlkbackStats
  #connection: BlkbackConnection | null = null
  /** The front-end broke the rules; it gets no second connection. */
  #barred = false
  /** A task takes the connection apart; others that want it closed wait for that. */
  #closing = false
  readonly #closed: WaitQueue

  constructor(device: XenbusDevice, disk: BlockDevice | null, readonly: boolean, stats: BlkbackStats) {
    this.#device = device
    this.#disk = disk
    this.#readonly = readonly
    this.#stats = stats
    this.#closed = device.kernel.queue(`the end of the connection of ${device.path}`)
  }

  async otherEndChanged(state: number): Promise<void> {
    const device = this.#device
    switch (state) {
      case XENBUS_STATE.Initialising:
        if (this.#disk !== null && !this.#barred && device.state === XENBUS_STATE.Closed)
          await device.switchState(XENBUS_STATE.InitWait)
        return
      case XENBUS_STATE.Initialised:
      case XENBUS_STATE.Connected:
        if (this.#disk !== null && !this.#barred && this.#connection === null) await this.#connect(this.#disk)
        return
      case XENBUS_STATE.Closing:
      case XENBUS_STATE.Closed:
      case XENBUS_STATE.Unknown:
        await this.close()
    }
  }

  async close(): Promise<void> {
    if (this.#closing) {
      while (this.#closing) await this.#closed.wait()
      return
    }
    this.#closing = true
    try {
      const connection = this.#connection
      this.#connection = null
      if (connection !== null) {
        await this.#device.switchState(XENBUS_STATE.Closing)
        await connection.close()
      }
      await this.#device.switchState(XENBUS_STATE.Closed)
    } finally {
      this.#closing = false
      this.#closed.wakeAll()
    }
  }

  async #connect(disk: BlockDevice): Promise<void> {
    const device = this.#device
    const { kernel } = device
    const ringRef = await device.readOtherNumber('ring-ref')
    const remotePort = await device.readOtherNumber('event-channel')
    const protocol = (await device.readOther('protocol')) ?? DEFAULT_PROTOCOL
    if (
      ringRef === undefined ||
      ringRef < 0 ||
      ringRef > 0xffff_ffff ||
      remotePort === undefined ||
      remotePort < 1 ||
      remotePort > 0xffff_ffff
    ) {
      await this.#refuse('ring-ref or event-channel of the front-end is missing or no number')
      return
    }
    if (!Object.hasOwn(BLKIF_LAYOUTS, protocol)) {
      await this.#refuse(`the front-end wants the unknown protocol ${JSON.stringify(protocol.slice(0, 32))}`)
      return
    }
    const connection = BlkbackConnection.open({
      kernel,
      disk,
      layout: BLKIF_LAYOUTS[protocol as BlkifProtocol],
      frontend: device.otherDomid,
      ringRef,
      remotePort,
      readonly: this.#readonly,
      stats: this.#stats,
      onViolation: (text) => {
        this.#barred = true
        kernel.spawn(`${device.path}/close`, () => this.#expel(text), { daemon: true })
      },
    })
    if (typeof connection === 'string') {
      await this.#refuse(connection)
      return
    }
    this.#connection = connection
    await device.publish({
      sectors: disk.sectors,
      'sector-size': SECTOR_SIZE,
      'physical-sector-size': disk.sectorSize,
      info: this.#readonly ? VDISK.READONLY : 0,
    })
    // It may have broken the rules in the meantime.
    if (this.#connection === connection) await device.switchState(XENBUS_STATE.Connected)
  }

  async #refuse(text: string): Promise<void> {
    await this.#device.reportError(text)
    await this.#device.switchState(XENBUS_STATE.Closed)
  }

  async #expel(text: string): Promise<void> {
    await this.#device.reportError(`connection ended: ${text}`)
    await this.close()
  }
}
