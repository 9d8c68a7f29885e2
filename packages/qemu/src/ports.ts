/** QEMU's board behind the machine's shapes: memory by physical address, registers, configuration space. All synchronous. */
import { BoundsError } from '@iospace/wire'
import type { MmioBus, PciRoot } from '@iospace/machine'
import type { Qtest } from './qtest.ts'

/** The registers of a board, as `MmioBus` has them. Writes are posted: QEMU sees them at the next read at the latest. */
export type MmioPort = Pick<MmioBus, 'read32' | 'write32' | 'read64' | 'write64'>

/** The configuration space of segment 0, as `PciRoot` has it. */
export type ConfigPort = Pick<PciRoot, 'configRead' | 'configWrite'>

export class QemuMmio implements MmioPort {
  readonly #qtest: Qtest

  constructor(qtest: Qtest) {
    this.#qtest = qtest
  }

  read32(address: number): number {
    return this.#qtest.readl(address)
  }
  write32(address: number, value: number): void {
    this.#qtest.writel(address, value)
  }
  read64(address: number): bigint {
    return this.#qtest.readq(address)
  }
  write64(address: number, value: bigint): void {
    this.#qtest.writeq(address, value)
  }
}

/** RAM by physical address, little-endian. */
export class QemuMemory {
  readonly #qtest: Qtest
  /** Bytes of RAM from address 0. */
  readonly bytes: number

  constructor(qtest: Qtest, bytes: number) {
    this.#qtest = qtest
    this.bytes = bytes
  }

  read(address: number, length: number): Uint8Array {
    return this.#qtest.read(this.#check(address, length), length)
  }
  write(address: number, bytes: Uint8Array): void {
    this.#qtest.write(this.#check(address, bytes.length), bytes)
  }
  fill(address: number, value: number, length: number): void {
    this.#qtest.fill(this.#check(address, length), value, length)
  }
  readU32(address: number): number {
    return this.#qtest.readl(this.#check(address, 4))
  }
  writeU32(address: number, value: number): void {
    this.#qtest.writel(this.#check(address, 4), value)
  }
  readU64(address: number): bigint {
    return this.#qtest.readq(this.#check(address, 8))
  }
  /** One 8-byte store. */
  writeU64(address: number, value: bigint): void {
    this.#qtest.writeq(this.#check(address, 8), value)
  }

  #check(address: number, length: number): number {
    if (!(address >= 0 && address + length <= this.bytes))
      throw new BoundsError('QEMU RAM', address, length, this.bytes)
    return address
  }
}

/** Configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2): the first 256 bytes of each function. */
const CONFIG_ADDRESS = 0xcf8
const CONFIG_DATA = 0xcfc
const CONFIG_ENABLE = 0x8000_0000
const CONFIG_REACH = 256

export class QemuPci implements ConfigPort {
  readonly #qtest: Qtest

  constructor(qtest: Qtest) {
    this.#qtest = qtest
  }

  /** A read of 1, 2 or 4 aligned bytes; all ones where no function answers. */
  configRead(bdf: number, offset: number, size: number): number {
    const port = this.#select(bdf, offset, size)
    if (size === 1) return this.#qtest.inb(port)
    return size === 2 ? this.#qtest.inw(port) : this.#qtest.inl(port)
  }

  configWrite(bdf: number, offset: number, size: number, value: number): void {
    const port = this.#select(bdf, offset, size)
    if (size === 1) this.#qtest.outb(port, value)
    else if (size === 2) this.#qtest.outw(port, value)
    else this.#qtest.outl(port, value)
  }

  #select(bdf: number, offset: number, size: number): number {
    if (offset + size > CONFIG_REACH) throw new BoundsError('configuration space', offset, size, CONFIG_REACH)
    this.#qtest.outl(CONFIG_ADDRESS, CONFIG_ENABLE | (bdf << 8) | (offset & 0xfc))
    return CONFIG_DATA + (offset & 3)
  }
}
