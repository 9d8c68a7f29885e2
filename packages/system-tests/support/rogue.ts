/** An attacker's driver of the rogue device: any DMA to any bus address, around every API. */
import { IOSPACE_VENDOR, ROGUE_DEVICE, RogueCommand, rogueOutcome, RogueRegister, RogueStatus } from '@iospace/devices'
import type { Kernel, PciDevice, Registers } from '@iospace/linux'

export class Rogue {
  readonly device: PciDevice
  readonly registers: Registers

  constructor(device: PciDevice) {
    this.device = device
    this.registers = device.bar(0)
  }

  /** The rogue device of this domain. */
  static async bind(kernel: Kernel): Promise<Rogue> {
    let found: Rogue | null = null
    await kernel.pci.register({
      name: 'rogue',
      ids: [{ vendor: IOSPACE_VENDOR, device: ROGUE_DEVICE }],
      probe: async (device) => {
        device.enable()
        found = new Rogue(device)
      },
    })
    if (found === null) throw new Error('this domain has no rogue device')
    return found
  }

  /** Fetches bytes from bus address `address`: a DmaOutcome, or 0 when nothing was tried. */
  read(address: number | bigint, into: Uint8Array): number {
    for (let at = 0; at < into.length; at += 4) this.registers.write32(RogueRegister.buffer + at, 0)
    const outcome = this.#run(RogueCommand.read, address, into.length)
    for (let at = 0; at < into.length; at += 4) {
      const word = this.registers.read32(RogueRegister.buffer + at)
      for (let i = 0; i < 4 && at + i < into.length; i++) into[at + i] = word >>> (8 * i)
    }
    return outcome
  }

  /** Writes bytes to bus address `address`: a DmaOutcome. */
  write(address: number | bigint, bytes: Uint8Array): number {
    for (let at = 0; at < bytes.length; at += 4) {
      let word = 0
      for (let i = 0; i < 4; i++) word |= (bytes[at + i] ?? 0) << (8 * i)
      this.registers.write32(RogueRegister.buffer + at, word)
    }
    return this.#run(RogueCommand.write, address, bytes.length)
  }

  /** Writes one doubleword, as an interrupt message is written: a DmaOutcome. */
  message(address: number | bigint, data: number): number {
    this.registers.write32(RogueRegister.message, data)
    return this.#run(RogueCommand.message, address, 4)
  }

  #run(command: number, address: number | bigint, length: number): number {
    const bus = BigInt.asUintN(64, BigInt(address))
    this.registers.write32(RogueRegister.addressLow, Number(bus & 0xffff_ffffn))
    this.registers.write32(RogueRegister.addressHigh, Number(bus >> 32n))
    this.registers.write32(RogueRegister.length, length)
    this.registers.write32(RogueRegister.command, command)
    const status = this.registers.read32(RogueRegister.status)
    // All ones where the device does not answer: then nothing was tried, either.
    return (status & RogueStatus.refused) !== 0 ? 0 : rogueOutcome(status)
  }
}
