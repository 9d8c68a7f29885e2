/**
 * A PCI function: header, BARs, MSI and PCI Express capabilities, reset. A device model extends it, declares its BARs, and uses
 * `dmaRead`, `dmaWrite` and `interrupt`; everything else on the bus is done here and in the root.
 */
import { ConfigError } from '@iospace/wire'
import type { MmioDevice } from '../mmio.ts'
import { Capability, Command, Config, ConfigSpace } from './config-space.ts'
import { DmaOutcome } from './dma.ts'
import type { PciRoot } from './root.ts'

/** One memory BAR. `bytes` is a power of two of at least 4096, so that no two functions share a page. */
export interface BarSpec {
  readonly index: number
  readonly bytes: number
  readonly wide: boolean
  readonly registers: MmioDevice
}

export interface FunctionSpec {
  readonly vendorId: number
  readonly deviceId: number
  /** 24 bits: base class, sub-class, programming interface. */
  readonly classCode: number
  readonly revision?: number
  readonly bars?: readonly BarSpec[]
  /** An MSI capability with one vector and a 64-bit address. */
  readonly msi?: boolean
  /** A PCI Express capability; `functionReset` tells whether it can reset itself (FLR). Absent: conventional PCI. */
  readonly express?: { readonly functionReset: boolean }
}

/** Offsets inside the MSI capability with a 64-bit address (PCI 3.0 6.8.1). */
export const Msi = { control: 2, address: 4, upperAddress: 8, data: 12, size: 14, enable: 1, wide: 0x80 } as const
/** Offsets and bits of the PCI Express capability (PCIe 2.0 7.8). */
export const Express = {
  deviceCapabilities: 4,
  deviceControl: 8,
  size: 20,
  functionResetCapable: 1 << 28,
  initiateReset: 0x8000,
} as const

export abstract class PciFunction {
  readonly config = new ConfigSpace()
  readonly bars: readonly BarSpec[]
  /** Bytes that this function moved, and that of those which an IOMMU translated, by {@link dmaRead} and {@link dmaWrite}. */
  movedBytes = 0
  translatedBytes = 0
  /** @internal Set by the root. */ root: PciRoot | null = null
  /** Bus (15:8), device (7:3) and function (2:0) number; set by the root. */
  bdf = 0
  /** @internal The id that the IOMMU sees; differs from `bdf` behind a conventional bridge. */ requester = 0
  /** @internal Command bit 2 here and in every bridge above. */ mastering = false
  /** @internal Board memory for outgoing interrupt messages. */ messageAt = -1
  readonly #msi: number

  constructor(spec: FunctionSpec) {
    const { config } = this
    config.define(Config.vendor, 2, spec.vendorId)
    config.define(Config.device, 2, spec.deviceId)
    config.define(Config.command, 2, 0, Command.memory | Command.busMaster | Command.interruptDisable)
    config.define(Config.revision, 1, spec.revision ?? 0)
    config.define(Config.classCode, 1, spec.classCode)
    config.define(Config.classCode + 1, 2, spec.classCode >>> 8)
    config.define(Config.interruptLine, 1, 0, 0xff)
    this.bars = spec.bars ?? []
    for (const bar of this.bars) {
      const { index, bytes, wide } = bar
      if (bytes < 4096 || (bytes & (bytes - 1)) !== 0)
        throw new ConfigError(`BAR ${index}`, bytes, 'is not a power of two of at least 4096 bytes')
      config.define(Config.bar0 + 4 * index, 4, wide ? 4 : 0, -bytes)
      if (wide) config.define(Config.bar0 + 4 * index + 4, 4, 0, -1)
    }
    this.#msi = spec.msi === true ? config.addCapability(Capability.msi, Msi.size) : 0
    if (this.#msi !== 0) {
      config.define(this.#msi + Msi.control, 2, Msi.wide, Msi.enable)
      config.define(this.#msi + Msi.address, 4, 0, -4)
      config.define(this.#msi + Msi.upperAddress, 4, 0, -1)
      config.define(this.#msi + Msi.data, 2, 0, 0xffff)
    }
    if (spec.express !== undefined) {
      const at = config.addCapability(Capability.pciExpress, Express.size)
      config.define(at + 2, 2, 2)
      config.define(at + Express.deviceCapabilities, 4, spec.express.functionReset ? Express.functionResetCapable : 0)
      config.define(at + Express.deviceControl, 2, 0, 0x7fff)
    }
  }

  /** The model's own part of a reset: registers to their reset values, every transfer in flight dropped. */
  protected abstract onReset(): void

  /** A function-level or bus reset: configuration space, BARs and the model are as at power-on. */
  reset(): void {
    this.config.reset()
    this.onReset()
    this.root?.configChanged(this)
  }

  /** @internal A configuration write by software. */
  configWrite(offset: number, size: number, value: number): void {
    const express = this.config.findCapability(Capability.pciExpress)
    const control = express + Express.deviceControl
    const initiates =
      express !== 0 &&
      offset <= control + 1 &&
      offset + size > control + 1 &&
      (Math.floor(value / 256 ** (control + 1 - offset)) & 0x80) !== 0
    if (initiates && (this.config.read(express + Express.deviceCapabilities, 4) & Express.functionResetCapable) !== 0) {
      this.reset()
      return
    }
    this.config.write(offset, size, value)
    this.root?.configChanged(this)
  }

  /** Reads `length` bytes from bus address (`hi`:`lo`) into board memory at `at`. Returns a {@link DmaOutcome}. */
  dmaRead(hi: number, lo: number, at: number, length: number): number {
    return this.root === null ? DmaOutcome.masterDisabled : this.root.dmaRead(this, hi, lo, at, length)
  }

  /** Writes `length` bytes from board memory at `at` to bus address (`hi`:`lo`). Returns a {@link DmaOutcome}. */
  dmaWrite(hi: number, lo: number, at: number, length: number): number {
    return this.root === null ? DmaOutcome.masterDisabled : this.root.dmaWrite(this, hi, lo, at, length)
  }

  /** Sends the MSI, if it is enabled: a memory write like any other, seen by the IOMMU. */
  interrupt(): void {
    const { config, root } = this
    if (root === null || this.#msi === 0 || (config.read(this.#msi + Msi.control, 2) & Msi.enable) === 0) return
    root.memory.view.setUint32(this.messageAt, config.read(this.#msi + Msi.data, 2), true)
    root.dmaWrite(
      this,
      config.read(this.#msi + Msi.upperAddress, 4),
      config.read(this.#msi + Msi.address, 4),
      this.messageAt,
      4,
    )
  }
}
