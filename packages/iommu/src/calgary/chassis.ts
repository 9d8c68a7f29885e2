/**
 * The chips of a machine, as its firmware leaves them: each bus behind a bridge of its own, as far as chips go, and the window of the board's
 * BARs open in every bridge.
 */
import { DmaOutcome, type DmaTranslator, type Machine } from '@iospace/machine'
import type { StaleHitHandler } from '../stale-hit.ts'
import { swap32 } from './big-endian.ts'
import { CalgaryHardware, type CalgaryHardwareOptions } from './hardware.ts'
import type { CalgaryPersonality } from './personalities.ts'
import { BRIDGES_PER_CHIP } from './spec/pci.ts'
import { BridgeRegister, BusRange, DebugRegister, Register } from './spec/registers.ts'

/** Where boards have the registers of the first chip, the others after it: in the hole below 4 GiB, where neither RAM nor BARs lie. */
export const CALGARY_BASE = 0xd000_0000

/** Where the board has its BARs: first and last MiB. */
const BARS_FIRST = 0xe000_0000
const BARS_LAST = 0xfeb0_0000
const LAST_BUS = 255

export interface CalgaryChassisOptions extends CalgaryHardwareOptions {
  /** Default 1. */
  readonly chips?: number
}

export class CalgaryChassis implements DmaTranslator {
  readonly chips: readonly CalgaryHardware[]

  constructor(
    machine: Machine,
    personality: CalgaryPersonality,
    { chips = 1, ...options }: CalgaryChassisOptions = {},
  ) {
    this.chips = Array.from({ length: chips }, () => new CalgaryHardware(machine, personality, options))
    const bridges = chips * BRIDGES_PER_CHIP
    for (let bus = 0; bus < bridges; bus++)
      openBridge(this.chips[Math.floor(bus / BRIDGES_PER_CHIP)]!, bus % BRIDGES_PER_CHIP, bus, bus + 1 === bridges)
  }

  get personality(): CalgaryPersonality {
    return this.chips[0]!.personality
  }

  /** One chip needs nobody to choose it. */
  get translator(): DmaTranslator {
    return this.chips.length === 1 ? this.chips[0]! : this
  }

  get onStaleHit(): StaleHitHandler | null {
    return this.chips[0]!.onStaleHit
  }

  set onStaleHit(handler: StaleHitHandler | null) {
    for (const chip of this.chips) chip.onStaleHit = handler
  }

  dmaRead(requester: number, hi: number, lo: number, at: number, length: number): number {
    const chip = this.#behind(requester >>> 8)
    return chip === undefined ? DmaOutcome.unclaimed : chip.dmaRead(requester, hi, lo, at, length)
  }

  dmaWrite(requester: number, hi: number, lo: number, at: number, length: number): number {
    const chip = this.#behind(requester >>> 8)
    return chip === undefined ? DmaOutcome.unclaimed : chip.dmaWrite(requester, hi, lo, at, length)
  }

  #behind(bus: number): CalgaryHardware | undefined {
    for (const chip of this.chips) if (chip.leadsTo(bus)) return chip
    return undefined
  }
}

// What firmware does to a bridge: `bus` is behind it, and with `rest` all that follow.
function openBridge(chip: CalgaryHardware, index: number, bus: number, rest: boolean): void {
  const lastBus = rest ? LAST_BUS : bus
  const stuff = (bus << BusRange.firstShift) | (lastBus << BusRange.lastShift)
  const base = Register.bridge[index]!
  chip.write32(Register.debug[index]! + DebugRegister.busRange, swap32(stuff))
  chip.write32(base + BridgeRegister.memory1BaseLow, swap32(BARS_FIRST))
  chip.write32(base + BridgeRegister.memory1Limit, swap32(BARS_LAST))
  chip.read32(base + BridgeRegister.localStatus)
}
