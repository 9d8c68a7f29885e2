/** The guest's driver of the rogue device: DMA to any bus address, and forged interrupt messages. */
import type { PciDevice, PciDriver, Registers } from '@iospace/linux'

/** Registers in BAR 0, by byte offset; the window on the device's buffer begins at 0x1000. */
const Register = {
  addressLow: 0x04,
  addressHigh: 0x08,
  length: 0x0c,
  message: 0x10,
  control: 0x14,
  command: 0x18,
  status: 0x1c,
  buffer: 0x1000,
} as const
const Command = { read: 1, write: 2, message: 3 } as const
const BUSY = 1
const REFUSED = 4
const INTERRUPT_WHEN_DONE = 1

/** What became of a transfer, as the device saw it: positive when bytes moved, −1 when it was blocked, 0 when it was never on the bus. */
export type Outcome = number
export const BLOCKED: Outcome = -1

export class Rogue {
  readonly device: PciDevice
  readonly #registers: Registers
  #interrupts = 0

  constructor(device: PciDevice) {
    this.device = device
    this.#registers = device.bar(0)
  }

  /** Interrupts that arrived since the driver bound the device. */
  get interrupts(): number {
    return this.#interrupts
  }

  /** Has the device interrupt after each transfer. 0 or a negative errno. */
  listen(): number {
    return this.device.onInterrupt(() => void this.#interrupts++)
  }

  /** Whether the device interrupts after a transfer. */
  set interrupting(on: boolean) {
    this.#registers.write32(Register.control, on ? INTERRUPT_WHEN_DONE : 0)
  }

  /** Reads `length` bytes (a multiple of 4) at bus address `address`; what arrived is in `into`. */
  read(address: number, into: Uint8Array): Outcome {
    this.#fill(into)
    const outcome = this.#transfer(Command.read, address, into.length)
    const view = new DataView(into.buffer, into.byteOffset, into.length)
    for (let at = 0; at < into.length; at += 4) view.setUint32(at, this.#registers.read32(Register.buffer + at), true)
    return outcome
  }

  /** Writes `bytes` (a multiple of 4 of them) to bus address `address`. */
  write(address: number, bytes: Uint8Array): Outcome {
    this.#fill(bytes)
    return this.#transfer(Command.write, address, bytes.length)
  }

  /** Writes the doubleword `data` to `address`, as an interrupt message is written. */
  message(address: number, data: number): Outcome {
    this.#registers.write32(Register.message, data)
    return this.#transfer(Command.message, address, 4)
  }

  #fill(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = 0; at < bytes.length; at += 4) this.#registers.write32(Register.buffer + at, view.getUint32(at, true))
  }

  #transfer(command: number, address: number, length: number): Outcome {
    const registers = this.#registers
    registers.write32(Register.addressLow, address % 0x1_0000_0000)
    registers.write32(Register.addressHigh, Math.floor(address / 0x1_0000_0000))
    registers.write32(Register.length, length)
    registers.write32(Register.command, command)
    let status = registers.read32(Register.status)
    while ((status & BUSY) !== 0) {
      this.device.kernel.platform.relax()
      status = registers.read32(Register.status)
    }
    return (status & REFUSED) !== 0 ? 0 : (status << 16) >> 24
  }
}

/** A driver that hands each rogue device to `found`. */
export function rogueDriver(found: (rogue: Rogue) => void): PciDriver {
  return {
    name: 'rogue',
    ids: [{ vendor: 0xf0f0, device: 0x0bad }],
    async probe(device) {
      device.enable()
      const masked = device.dma.setMask(64)
      if (masked !== 0) return masked
      found(new Rogue(device))
      return 0
    },
  }
}
