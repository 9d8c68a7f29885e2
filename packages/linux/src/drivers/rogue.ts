/**
 * The driver of the rogue test device: lets a program send any DMA to any bus address, around the DMA API. Its registers are those
 * of `@iospace/devices`, which a kernel may not import; BAR0 has them in its first page and a window on the buffer in its second.
 */
import { Errno } from '@iospace/abi'
import { ValueError } from '@iospace/wire'
import type { PciDevice, Registers } from '../pci/pci-device.ts'
import type { PciDriver } from '../pci/pci-driver.ts'

const IOSPACE_VENDOR = 0xf0f0
const ROGUE_DEVICE = 0x0bad
const ROGUE_MAGIC = 0x55474f52

const Register = {
  magic: 0x00,
  addressLow: 0x04,
  addressHigh: 0x08,
  length: 0x0c,
  message: 0x10,
  command: 0x18,
  status: 0x1c,
  buffer: 0x1000,
} as const
const Command = { read: 1, write: 2, message: 3 } as const
const Status = { busy: 1, refused: 4 } as const

const POLL_INTERVAL = 1000

export class Rogue {
  readonly device: PciDevice
  readonly #registers: Registers

  constructor(device: PciDevice, registers: Registers) {
    this.device = device
    this.#registers = registers
  }

  /** Lets the device fetch `target.length` bytes (at most 4096) from bus `address`. The DmaOutcome: positive when bytes arrived in `target`. */
  async read(address: number, target: Uint8Array): Promise<number> {
    const outcome = await this.#run(Command.read, address, target.length)
    if (outcome > 0) {
      for (let at = 0; at < target.length; at += 4) {
        const word = this.#registers.read32(Register.buffer + at)
        for (let i = 0; i < 4 && at + i < target.length; i++) target[at + i] = word >>> (8 * i)
      }
    }
    return outcome
  }

  /** Lets the device write `bytes` (at most 4096) to bus `address`. The DmaOutcome. */
  write(address: number, bytes: Uint8Array): Promise<number> {
    for (let at = 0; at < bytes.length; at += 4) {
      let word = 0
      for (let i = 0; i < 4; i++) word |= (bytes[at + i] ?? 0) << (8 * i)
      this.#registers.write32(Register.buffer + at, word)
    }
    return this.#run(Command.write, address, bytes.length)
  }

  /** Lets the device write one doubleword to bus `address`: into the interrupt window it forges a message. The DmaOutcome. */
  message(address: number, data: number): Promise<number> {
    this.#registers.write32(Register.message, data)
    return this.#run(Command.message, address, 4)
  }

  async #run(command: number, address: number, length: number): Promise<number> {
    const registers = this.#registers
    registers.write32(Register.addressLow, address % 0x1_0000_0000)
    registers.write32(Register.addressHigh, Math.floor(address / 0x1_0000_0000))
    registers.write32(Register.length, length)
    registers.write32(Register.command, command)
    let status = registers.read32(Register.status)
    for (; (status & Status.busy) !== 0; status = registers.read32(Register.status))
      await this.device.kernel.sleep(POLL_INTERVAL)
    if ((status & Status.refused) !== 0)
      throw new ValueError('rogue transfer', 'length', undefined, length, 'is not from 1 to 4096')
    return (status << 16) >> 24
  }
}

/** A driver that hands each rogue device to `found` when it is ready. */
export function rogueDriver(found: (rogue: Rogue) => void): PciDriver {
  return {
    name: 'rogue',
    ids: [{ vendor: IOSPACE_VENDOR, device: ROGUE_DEVICE }],
    async probe(device) {
      device.enable()
      const registers = device.bar(0)
      if (registers.read32(Register.magic) !== ROGUE_MAGIC) return -Errno.ENODEV
      found(new Rogue(device, registers))
      return 0
    },
  }
}
