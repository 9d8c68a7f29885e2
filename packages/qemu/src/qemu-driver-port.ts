/** What an IOMMU driver may touch, on QEMU's board. */
import type { DriverPort } from '@iospace/iommu/driver'
import { FrameReserve, type TablePages } from './frame-reserve.ts'
import type { QemuMachine } from './qemu-machine.ts'

const PAGE = 4096
/**
 * QEMU finishes each command of an IOMMU before it answers, so time only has to pass for a unit that is stuck: about as much as a
 * command takes.
 */
const NS_PER_COMMAND = 20_000

export class QemuDriverPort implements DriverPort {
  readonly #machine: QemuMachine
  readonly #reserve: FrameReserve

  constructor(machine: QemuMachine, pages: TablePages) {
    this.#machine = machine
    this.#reserve = new FrameReserve(pages)
  }

  allocatePage(): number {
    return this.allocateRun(0)
  }

  allocateRun(order: number): number {
    const first = this.#reserve.take(2 ** order)
    if (first >= 0) this.#machine.memory.fill(first * PAGE, 0, PAGE * 2 ** order)
    return first
  }

  freePage(mfn: number): void {
    this.#reserve.give(mfn)
  }

  store64(mfn: number, index: number, hi: number, lo: number): void {
    this.#machine.memory.writeU64(mfn * PAGE + index * 8, (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0))
  }

  store32(mfn: number, index: number, value: number): void {
    this.#machine.memory.writeU32(mfn * PAGE + index * 4, value >>> 0)
  }

  publish64(mfn: number, index: number, hi: number, lo: number): void {
    this.store64(mfn, index, hi, lo)
  }

  store128(mfn: number, index: number, hi0: number, lo0: number, hi1: number, lo1: number): void {
    // One command: QEMU copies it while no device runs.
    this.#machine.memory.write(mfn * PAGE + index * 8, new Uint8Array(Uint32Array.of(lo0, hi0, lo1, hi1).buffer))
  }

  storeCoherent128(mfn: number, index: number, hi0: number, lo0: number, hi1: number, lo1: number): void {
    this.store128(mfn, index, hi0, lo0, hi1, lo1)
  }

  loadLow(mfn: number, index: number): number {
    return this.#machine.memory.readU32(mfn * PAGE + index * 8) | 0
  }

  loadHigh(mfn: number, index: number): number {
    return this.#machine.memory.readU32(mfn * PAGE + index * 8 + 4) | 0
  }

  /** QEMU's units read memory as the processor does. */
  flushLine(): void {}

  read32(address: number): number {
    return this.#machine.mmio.read32(address)
  }

  write32(address: number, value: number): void {
    this.#machine.mmio.write32(address, value)
  }

  now(): number {
    return this.#machine.qtest.commands * NS_PER_COMMAND
  }

  relax(): void {}
}
