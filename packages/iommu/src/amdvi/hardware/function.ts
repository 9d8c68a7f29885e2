/**
 * The unit as a PCI function: where software finds its registers, and the MSI capability by which it sends its own message. A board may
 * put it on its root bus (the unit works without). It masters nothing by itself: its message is the unit's own, which nothing translates.
 */
import {
  Capability,
  inInterruptWindow,
  Msi,
  PciFunction,
  type InterruptController,
  type MachineMemory,
} from '@iospace/machine'
import type { AmdviPersonality } from '../personalities.ts'
import {
  BASE_ENABLE,
  CapabilityHeader,
  CapabilityMisc,
  CapabilityWord,
  FUNCTION_IDS,
  IOMMU_CAPABILITY,
  IOMMU_CAPABILITY_BYTES,
} from '../spec/pci-capability.ts'
import { Register } from '../spec/registers.ts'

export class AmdviFunction extends PciFunction {
  /** Offsets of the two capabilities. */
  readonly capability: number
  readonly #msi: number
  readonly #memory: MachineMemory
  readonly #interrupts: InterruptController

  /** `base`: where the registers are. */
  constructor(personality: AmdviPersonality, base: number, memory: MachineMemory, interrupts: InterruptController) {
    super({ ...FUNCTION_IDS, msi: true })
    const { config } = this
    this.#memory = memory
    this.#interrupts = interrupts
    this.#msi = config.findCapability(Capability.msi)
    const at = config.addCapability(IOMMU_CAPABILITY, IOMMU_CAPABILITY_BYTES)
    const { type, revision, features, npCache } = CapabilityHeader
    this.capability = at
    config.define(at + 2, 2, type | revision | features | (personality.npCache ? npCache : 0))
    config.define(at + CapabilityWord.baseLow, 4, base | BASE_ENABLE)
    config.define(at + CapabilityWord.baseHigh, 4, 0)
    const { physicalShift, virtualShift } = CapabilityMisc
    config.define(
      at + CapabilityWord.misc,
      4,
      (personality.physicalBits << physicalShift) | (personality.virtualBits << virtualShift),
    )
  }

  /** Sends the unit's message, if MSI is enabled. */
  send(): void {
    const { config } = this
    if ((config.read(this.#msi + Msi.control, 2) & Msi.enable) === 0) return
    const data = config.read(this.#msi + Msi.data, 2)
    const hi = config.read(this.#msi + Msi.upperAddress, 4) | 0
    const lo = config.read(this.#msi + Msi.address, 4) | 0
    if (inInterruptWindow(hi, lo)) {
      this.#interrupts.message(data)
      return
    }
    const at = this.#memory.offset(hi, lo)
    if (at >= 0) this.#memory.words[at >>> 2] = data
  }

  /** The MSI registers by MMIO, `offset` from {@link Register.messageControl} to messageData. */
  readMessageRegister(offset: number): number {
    return offset === Register.messageData
      ? this.config.read(this.#msi + Msi.data, 2)
      : this.config.read(this.#msi + offset - Register.messageControl, 4)
  }

  writeMessageRegister(offset: number, value: number): void {
    this.configWrite(this.#msi + offset - Register.messageControl, 4, value)
  }

  protected override onReset(): void {}
}
