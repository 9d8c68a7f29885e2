/**
 * The PCI root complex of segment 0: where functions sit, which address ranges their BARs decode, who may master the bus, under
 * which requester id a request reaches the IOMMU, and the way of each DMA into the translator.
 */
import { ConfigError } from '@iospace/wire'
import type { Clock } from '../clock.ts'
import { Count } from '../costs.ts'
import type { MachineMemory } from '../memory.ts'
import type { MmioBus } from '../mmio.ts'
import type { TraceSink } from '../trace.ts'
import { PciBridge, type BridgeKind } from './bridge.ts'
import { Command, Config } from './config-space.ts'
import { DmaOutcome, type DmaTranslator } from './dma.ts'
import type { PciFunction } from './function.ts'

/** Where firmware places BARs: the hole below 4 GiB, away from the chipset's own registers at 0xFEC00000. */
const BAR_WINDOW = 0xe000_0000
const BAR_WINDOW_END = 0xfec0_0000

// Constants of other modules as this module's own: those are what the compiler folds.
const { dmaRead: DMA_READ, dmaWrite: DMA_WRITE, dmaByte: DMA_BYTE, translatedByte: TRANSLATED_BYTE } = Count
const { masterDisabled: MASTER_DISABLED, translated: TRANSLATED } = DmaOutcome

export class PciRoot {
  declare readonly memory: MachineMemory
  declare private readonly clock: Clock
  declare private readonly counts: Float64Array
  declare private readonly mmio: MmioBus
  readonly #functions: (PciFunction | undefined)[] = []
  readonly #placed = new Map<PciFunction, number[]>()
  readonly #bridgeOfBus: (PciBridge | undefined)[] = []
  #nextBus = 1
  #nextBar = BAR_WINDOW
  /** What stands between devices and memory; the board installs an IOMMU's hardware here. */
  translator: DmaTranslator
  trace: TraceSink | null = null

  constructor(clock: Clock, memory: MachineMemory, mmio: MmioBus, translator: DmaTranslator) {
    this.clock = clock
    this.counts = clock.counts
    this.memory = memory
    this.mmio = mmio
    this.translator = translator
  }

  /** Puts `device` at `bus` and `devfn` and lets firmware place its BARs (memory decoding and bus mastering stay off). */
  add(bus: number, devfn: number, device: PciFunction): PciFunction {
    const bdf = (bus << 8) | devfn
    if (this.#functions[bdf] !== undefined) throw new ConfigError('pci slot', bdf, 'is taken')
    if (bus !== 0 && this.#bridgeOfBus[bus] === undefined)
      throw new ConfigError('pci bus', bus, 'has no bridge that leads to it')
    this.#functions[bdf] = device
    device.root = this
    device.bdf = bdf
    device.requester = this.#requester(bdf)
    device.messageAt = this.memory.boardMemory(4)
    for (const bar of device.bars) {
      this.#nextBar = Math.ceil(this.#nextBar / bar.bytes) * bar.bytes
      if (this.#nextBar + bar.bytes > BAR_WINDOW_END)
        throw new ConfigError('pci BAR', bar.bytes, 'finds no room below 0xfec00000')
      const low = device.config.read(Config.bar0 + 4 * bar.index, 4) & 0xf
      device.config.set(Config.bar0 + 4 * bar.index, 4, this.#nextBar + low)
      this.#nextBar += bar.bytes
    }
    return device
  }

  /** Adds a bridge and the bus below it; returns that bus's number. */
  addBridge(bus: number, devfn: number, kind: BridgeKind): number {
    const bridge = new PciBridge(kind)
    this.add(bus, devfn, bridge)
    const secondary = this.#nextBus++
    this.#bridgeOfBus[secondary] = bridge
    bridge.config.set(Config.primaryBus, 1, bus)
    bridge.config.set(Config.secondaryBus, 1, secondary)
    bridge.config.set(Config.subordinateBus, 1, secondary)
    for (let above = this.#bridgeOfBus[bus]; above !== undefined; above = this.#bridgeOfBus[above.bdf >> 8])
      above.config.set(Config.subordinateBus, 1, secondary)
    return secondary
  }

  /** The function at `bdf`, or undefined. */
  at(bdf: number): PciFunction | undefined {
    return this.#functions[bdf]
  }

  /** Every function, in order of its number. */
  functions(): PciFunction[] {
    return this.#functions.filter((device) => device !== undefined)
  }

  /** The bridges between `bdf` and the root, nearest first. */
  bridgesAbove(bdf: number): PciBridge[] {
    const result: PciBridge[] = []
    for (let bridge = this.#bridgeOfBus[bdf >> 8]; bridge !== undefined; bridge = this.#bridgeOfBus[bridge.bdf >> 8])
      result.push(bridge)
    return result
  }

  /** A configuration read of 1, 2 or 4 aligned bytes; all ones where no function answers. */
  configRead(bdf: number, offset: number, size: number): number {
    this.clock.charge(Count.configAccess)
    return this.#functions[bdf]?.config.read(offset, size) ?? 2 ** (8 * size) - 1
  }

  configWrite(bdf: number, offset: number, size: number, value: number): void {
    this.clock.charge(Count.configAccess)
    this.#functions[bdf]?.configWrite(offset, size, value)
  }

  /** @internal A function's header changed: decode its BARs anew and recompute who may master the bus. */
  configChanged(device: PciFunction): void {
    for (const base of this.#placed.get(device) ?? []) this.mmio.unmap(base)
    const placed: number[] = []
    if ((device.config.read(Config.command, 2) & Command.memory) !== 0) {
      for (const bar of device.bars) {
        const base = this.barAddress(device, bar.index)
        // Where software puts a BAR over something else, the other keeps the range.
        if (base === 0 || !this.mmio.free(base, bar.bytes)) continue
        this.mmio.map(base, bar.bytes, bar.registers)
        placed.push(base)
      }
    }
    this.#placed.set(device, placed)
    for (const other of device instanceof PciBridge ? this.functions() : [device])
      other.mastering = this.#mayMaster(other)
  }

  /** Physical address in BAR `index` of `device`; 0 when it has none. */
  barAddress(device: PciFunction, index: number): number {
    const bar = device.bars.find((spec) => spec.index === index)
    if (bar === undefined) return 0
    const low = device.config.read(Config.bar0 + 4 * index, 4)
    const high = bar.wide ? device.config.read(Config.bar0 + 4 * index + 4, 4) : 0
    return high * 0x1_0000_0000 + (low - (low & 0xf))
  }

  /** @internal */ dmaRead(device: PciFunction, hi: number, lo: number, at: number, length: number): number {
    this.counts[DMA_READ]!++
    const outcome = device.mastering ? this.translator.dmaRead(device.requester, hi, lo, at, length) : MASTER_DISABLED
    return this.#account(device, false, hi, lo, length, outcome)
  }

  /** @internal */ dmaWrite(device: PciFunction, hi: number, lo: number, at: number, length: number): number {
    this.counts[DMA_WRITE]!++
    const outcome = device.mastering ? this.translator.dmaWrite(device.requester, hi, lo, at, length) : MASTER_DISABLED
    return this.#account(device, true, hi, lo, length, outcome)
  }

  #account(device: PciFunction, write: boolean, hi: number, lo: number, length: number, outcome: number): number {
    if (outcome > 0) {
      const { counts } = this
      counts[DMA_BYTE]! += length
      device.movedBytes += length
      if (outcome === TRANSLATED) {
        counts[TRANSLATED_BYTE]! += length
        device.translatedBytes += length
      }
    }
    if (this.trace !== null)
      this.trace.dma(this.clock.now, device.bdf, write, (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0), length, outcome)
    return outcome
  }

  #mayMaster(device: PciFunction): boolean {
    return [device, ...this.bridgesAbove(device.bdf)].every(
      (step) => (step.config.read(Config.command, 2) & Command.busMaster) !== 0,
    )
  }

  // PCIe to PCI bridges take ownership of requests: bus = secondary bus, devfn = 0 (PCIe to PCI/PCI-X Bridge 1.0, 2.3).
  #requester(bdf: number): number {
    const topmost = this.bridgesAbove(bdf).findLast((bridge) => bridge.kind === 'conventional')
    return topmost === undefined ? bdf : topmost.secondaryBus << 8
  }
}
