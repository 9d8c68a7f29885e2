/**
 * The block front-end: a disk for each `vbd` that the toolstack gives this domain (Linux drivers/block/xen-blkfront.c).
 *
 * It publishes `ring-ref`, `event-channel` and `protocol`, and reads what the back-end says of the disk; `size-bytes` there is how
 * many bytes mean something, where the image does not end at a sector's end.
 */
import { VDISK, XENBUS_STATE } from '@iospace/abi'
import { SECTOR_SIZE } from '../../block/block-device.ts'
import type { KernelBuffer } from '../../memory/kernel-buffer.ts'
import type { XenbusDevice } from '../xenbus/xenbus-device.ts'
import type { XenbusDriver, XenbusEnd } from '../xenbus/xenbus.ts'
import { XenDisk, type DiskGeometry } from './xen-disk.ts'

const PROTOCOL = 'x86_64-abi'
/** Device number of `xvda`; each disk has 16 (its partitions). */
const XVD_BASE = 202 << 8

export const blkfront: XenbusDriver = {
  name: 'blkfront',
  type: 'vbd',
  end: 'frontend',
  async probe(device) {
    await device.switchState(XENBUS_STATE.Initialising)
    return new Frontend(device)
  },
}

/** `51712` is `xvda`, `51728` is `xvdb`; other numbers are shown as they are. */
export function diskName(id: string): string {
  const index = (Number(id) - XVD_BASE) / 16
  return Number.isInteger(index) && index >= 0 && index < 26 ? `xvd${String.fromCharCode(97 + index)}` : `vbd-${id}`
}

class Frontend implements XenbusEnd {
  readonly #device: XenbusDevice
  #disk: XenDisk | null = null
  #page: KernelBuffer | null = null
  #ringRef = -1
  #port = -1
  #closed = false

  constructor(device: XenbusDevice) {
    this.#device = device
  }

  async otherEndChanged(state: number): Promise<void> {
    const device = this.#device
    switch (state) {
      case XENBUS_STATE.InitWait:
        if (device.state === XENBUS_STATE.Initialising) await this.#offer()
        return
      case XENBUS_STATE.Connected:
        if (device.state === XENBUS_STATE.Initialised) await this.#connect()
        return
      case XENBUS_STATE.Closing:
      case XENBUS_STATE.Closed:
      case XENBUS_STATE.Unknown:
        // A back-end that was never there has not gone.
        if (device.state !== XENBUS_STATE.Initialising) await this.close()
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const device = this.#device
    const { kernel } = device
    const disk = this.#disk
    const alive = device.otherState === XENBUS_STATE.Connected
    if (disk !== null) {
      kernel.block.remove(disk)
      // New requests are refused from here on only by whoever still holds the disk; what is under way must end first.
      if (alive) await disk.drain()
    }
    await device.switchState(XENBUS_STATE.Closing)
    if (this.#page !== null) {
      await device.waitForOther([XENBUS_STATE.Closed])
      disk?.abandon()
      this.#giveBack(this.#page)
    }
    await device.switchState(XENBUS_STATE.Closed)
  }

  async #offer(): Promise<void> {
    const device = this.#device
    const { kernel, otherDomid } = device
    const page = kernel.memory.allocate(4096)
    const ringRef = page === null ? -1 : kernel.grants.grantAccess(otherDomid, page.pfn, false)
    const port = page === null ? -1 : kernel.events.allocUnbound(otherDomid)
    if (page === null || ringRef < 0 || port < 0) {
      await device.reportError('no page, grant or event channel for the ring')
      return
    }
    this.#page = page
    this.#ringRef = ringRef
    this.#port = port
    const unknown: DiskGeometry = {
      name: diskName(device.id),
      sectors: 0,
      bytes: 0,
      sectorSize: SECTOR_SIZE,
      readonly: true,
      canFlush: false,
    }
    this.#disk = new XenDisk(kernel, unknown, otherDomid, page, port)
    await device.publish({ 'ring-ref': ringRef, 'event-channel': port, protocol: PROTOCOL })
    await device.switchState(XENBUS_STATE.Initialised)
  }

  async #connect(): Promise<void> {
    const device = this.#device
    const sectors = await device.readOtherNumber('sectors')
    const disk = this.#disk
    if (sectors === undefined || sectors < 0 || disk === null) {
      await device.reportError('the back-end does not say how many sectors the disk has')
      return
    }
    const info = (await device.readOtherNumber('info')) ?? 0
    const bytes = (await device.readOtherNumber('size-bytes')) ?? sectors * SECTOR_SIZE
    const sectorSize = (await device.readOtherNumber('physical-sector-size')) ?? SECTOR_SIZE
    const canFlush = (await device.readOtherNumber('feature-flush-cache')) === 1
    disk.geometry = {
      name: diskName(device.id),
      sectors,
      bytes: Math.max(0, Math.min(bytes, sectors * SECTOR_SIZE)),
      sectorSize,
      readonly: (info & VDISK.READONLY) !== 0,
      canFlush,
    }
    await device.switchState(XENBUS_STATE.Connected)
    device.kernel.block.add(disk)
  }

  // The back-end has closed: it holds neither the ring nor the channel any more. If it does, the page is lost for good.
  #giveBack(page: KernelBuffer): void {
    const { kernel } = this.#device
    kernel.events.close(this.#port)
    if (kernel.grants.endAccess(this.#ringRef)) kernel.memory.free(page)
    this.#page = null
    this.#disk = null
  }
}
