/** The network interface of P8: for each packet it reads a descriptor, writes the packet where that says, and writes the length back. */
import { type Machine, type MmioDevice, PciFunction } from '@iospace/machine'

/** A descriptor: address of the buffer (64 bits), flags and length of the packet (32 bits each). */
export const DESCRIPTOR_BYTES = 16
export const DONE = 1
export const PACKET_BYTES = 1500
/** Packets on the wire, one after another for ever: their first bytes are {@link wireByte} of their number. */
const ON_WIRE = 16
const WIRE_SLOT = 2048
const BOARD_BYTES = ON_WIRE * WIRE_SLOT + 4096

export const PACKET_BOARD_BYTES = BOARD_BYTES + 4096

export class PacketDevice extends PciFunction {
  readonly #words: Int32Array
  /** Board memory: the wire, and behind it the descriptor being worked on. */
  readonly #wire: number
  readonly #descriptor: number
  #packets = 0

  constructor({ memory }: Machine) {
    const nothing: MmioDevice = { read32: () => 0, write32: () => {} }
    super({
      vendorId: 0xf0f0,
      deviceId: 8,
      classCode: 0x020000,
      bars: [{ index: 0, bytes: 4096, wide: false, registers: nothing }],
      express: { functionReset: true },
    })
    this.#words = memory.words
    this.#wire = memory.boardMemory(BOARD_BYTES)
    this.#descriptor = this.#wire + ON_WIRE * WIRE_SLOT
    for (let slot = 0; slot < ON_WIRE; slot++) {
      for (let i = 0; i < WIRE_SLOT; i++) memory.bytes[this.#wire + slot * WIRE_SLOT + i] = wireByte(slot, i)
    }
  }

  /** Receives `count` packets into the buffers of the descriptors at bus address (`hi`:`lo`). How many DMAs failed. */
  receive(hi: number, lo: number, count: number): number {
    const words = this.#words
    const at = this.#descriptor
    const word = at >> 2
    let failed = 0
    for (let i = 0; i < count; i++) {
      const descriptor = lo + i * DESCRIPTOR_BYTES
      const slot = this.#wire + (this.#packets++ % ON_WIRE) * WIRE_SLOT
      if (this.dmaRead(hi, descriptor, at, DESCRIPTOR_BYTES) < 0) failed++
      if (this.dmaWrite(words[word + 1]!, words[word]!, slot, PACKET_BYTES) < 0) failed++
      words[word + 2] = DONE
      words[word + 3] = PACKET_BYTES
      if (this.dmaWrite(hi, descriptor + 8, at + 8, 8) < 0) failed++
    }
    return failed
  }

  protected override onReset(): void {}
}

/** Byte `i` of the packet with number `packet`. */
export function wireByte(packet: number, i: number): number {
  return ((packet % ON_WIRE) * 37 + i * 11 + (i >> 8)) & 0xff
}
