/** A PCI function as its driver sees it: registers, interrupt, DMA, and what to undo when the driver lets go. */
import { formatSbdf } from '@iospace/abi'
import { Command, Config } from '@iospace/machine'
import { requestInterrupt } from '../irq.ts'
import type { DmaApi } from '../dma/dma-api.ts'
import type { Kernel } from '../kernel.ts'
import type { Platform } from '../platform.ts'

/** A register block: 32-bit accesses at byte offsets. */
export class Registers {
  readonly base: number
  readonly #platform: Platform

  constructor(platform: Platform, base: number) {
    this.#platform = platform
    this.base = base
  }

  read32(offset: number): number {
    return this.#platform.read32(this.base + offset)
  }

  write32(offset: number, value: number): void {
    this.#platform.write32(this.base + offset, value)
  }
}

export class PciDevice {
  readonly kernel: Kernel
  /** Virtual number in a domain. */
  readonly sbdf: number
  /** `0000:03:00.0` */
  readonly name: string
  readonly vendorId: number
  readonly deviceId: number
  /** 24 bits: base class, sub-class, interface. */
  readonly classCode: number
  readonly revision: number
  #dma: DmaApi | null = null
  readonly #deferred: (() => Promise<void> | void)[] = []

  constructor(kernel: Kernel, sbdf: number) {
    const { platform } = kernel
    this.kernel = kernel
    this.sbdf = sbdf
    this.name = formatSbdf(sbdf)
    this.vendorId = platform.configRead(sbdf, Config.vendor, 2)
    this.deviceId = platform.configRead(sbdf, Config.device, 2)
    this.revision = platform.configRead(sbdf, Config.revision, 1)
    this.classCode =
      platform.configRead(sbdf, Config.classCode, 1) + platform.configRead(sbdf, Config.classCode + 1, 2) * 0x100
  }

  /** The DMA API of this device; its backend is chosen at the first use. */
  get dma(): DmaApi {
    this.#dma ??= this.kernel.dma.open(this.sbdf)
    return this.#dma
  }

  configRead(offset: number, size: 1 | 2 | 4): number {
    return this.kernel.platform.configRead(this.sbdf, offset, size)
  }

  configWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    this.kernel.platform.configWrite(this.sbdf, offset, size, value)
  }

  /** Lets the function decode its BARs and master the bus (pci_enable_device, pci_set_master). */
  enable(): void {
    this.configWrite(Config.command, 2, this.configRead(Config.command, 2) | Command.memory | Command.busMaster)
  }

  /** The registers behind memory BAR `index`. */
  bar(index: number): Registers {
    const low = this.configRead(Config.bar0 + 4 * index, 4)
    const high = (low & 6) === 4 ? this.configRead(Config.bar0 + 4 * index + 4, 4) : 0
    return new Registers(this.kernel.platform, high * 0x1_0000_0000 + (low - (low & 0xf)))
  }

  /** Calls `handler` between tasks on each interrupt of this function, until the driver lets go. 0, or −errno. */
  onInterrupt(handler: () => void): number {
    const line = requestInterrupt(this, handler)
    if (typeof line === 'number') return line
    this.defer(() => line.release())
    return 0
  }

  /** Runs `step` when the driver lets go of the device, before the steps deferred earlier. */
  defer(step: () => Promise<void> | void): void {
    this.#deferred.push(step)
  }

  /** @internal Undoes what the driver did. */
  async letGo(): Promise<void> {
    for (let step = this.#deferred.pop(); step !== undefined; step = this.#deferred.pop()) await step()
    this.configWrite(Config.command, 2, this.configRead(Config.command, 2) & ~Command.busMaster)
    this.#dma?.release()
    this.#dma = null
  }
}
