/**
 * One function's configuration space (PCI Local Bus 3.0 chapter 6; PCI Express Base 2.0 7.2): bytes with a write mask and a
 * write-one-to-clear mask per byte. What no mask allows stays as it is, which is how BARs tell their size.
 */
export const CONFIG_BYTES = 4096

/** Offsets of the type 0/1 header. */
export const Config = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  classCode: 0x09,
  headerType: 0x0e,
  bar0: 0x10,
  primaryBus: 0x18,
  secondaryBus: 0x19,
  subordinateBus: 0x1a,
  capabilities: 0x34,
  interruptLine: 0x3c,
} as const

/** Bits of the command register. */
export const Command = { memory: 0x2, busMaster: 0x4, interruptDisable: 0x400 } as const
/** Status bit 4: a capability list exists. */
export const STATUS_CAPABILITIES = 0x10

/** Capability ids. */
export const Capability = { msi: 0x05, pciExpress: 0x10, msix: 0x11 } as const

export class ConfigSpace {
  readonly #bytes = new Uint8Array(CONFIG_BYTES)
  readonly #writable = new Uint8Array(CONFIG_BYTES)
  readonly #clearable = new Uint8Array(CONFIG_BYTES)
  readonly #reset = new Uint8Array(CONFIG_BYTES)
  #nextCapability = 0x40
  #lastPointer: number = Config.capabilities

  /** Declares `size` bytes at `offset`: reset value, and which bits software may write or clear by writing one. */
  define(offset: number, size: 1 | 2 | 4, value: number, writable = 0, clearable = 0): void {
    for (let i = 0; i < size; i++) {
      this.#bytes[offset + i] = this.#reset[offset + i] = (value >>> (8 * i)) & 0xff
      this.#writable[offset + i] = (writable >>> (8 * i)) & 0xff
      this.#clearable[offset + i] = (clearable >>> (8 * i)) & 0xff
    }
  }

  /** Appends a capability of `size` bytes (header included) to the list; returns its offset. */
  addCapability(id: number, size: number): number {
    const at = this.#nextCapability
    this.#nextCapability += (size + 3) & ~3
    this.define(this.#lastPointer, 1, at)
    this.define(at, 2, id)
    this.#lastPointer = at + 1
    const status = this.read(Config.status, 2) | STATUS_CAPABILITIES
    this.define(Config.status, 2, status)
    return at
  }

  /** Little-endian value of `size` bytes at `offset`, unsigned. */
  read(offset: number, size: number): number {
    let value = 0
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.#bytes[offset + i] ?? 0xff)
    return value
  }

  /** A software write, filtered by the masks. */
  write(offset: number, size: number, value: number): void {
    for (let i = 0; i < size && offset + i < CONFIG_BYTES; i++) {
      const at = offset + i
      const byte = Math.floor(value / 256 ** i) & 0xff
      const mask = this.#writable[at]!
      this.#bytes[at] = ((this.#bytes[at]! & ~mask) | (byte & mask)) & ~(byte & this.#clearable[at]!)
    }
  }

  /** A change by the function itself; masks do not apply. */
  set(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.#bytes[offset + i] = Math.floor(value / 256 ** i) & 0xff
  }

  /** Offset of the capability `id`, 0 when absent. */
  findCapability(id: number): number {
    for (let at = this.#bytes[Config.capabilities]!; at !== 0; at = this.#bytes[at + 1]!)
      if (this.#bytes[at] === id) return at
    return 0
  }

  /** Back to the values of power-on. */
  reset(): void {
    this.#bytes.set(this.#reset)
  }
}
