/**
 * Driver of QEMU's educational PCI device (docs/specs/edu.rst of QEMU): a buffer of 4 KiB and one DMA channel between it and the
 * bus. It runs over any board that has the two ports below: QEMU's, or ours with a model of the same device.
 */
import { BoundsError, StateError } from '@iospace/wire'
import type { ConfigPort, MmioPort } from './ports.ts'

/** What the driver needs of the device's registers. A pause lets time pass where only that ends a poll. */
export interface EduPort extends Pick<MmioPort, 'read32' | 'write32' | 'write64'> {
  relax?(): void
}

/** Identification of the function. */
export const EDU_VENDOR = 0x1234
export const EDU_DEVICE = 0x11e8
export const EDU_BAR_BYTES = 0x10_0000

/** Offsets in BAR 0. Below 0x80 registers have 4 bytes, above that 8. */
const Register = {
  id: 0x00,
  liveness: 0x04,
  interruptRaise: 0x60,
  interruptAcknowledge: 0x64,
  source: 0x80,
  target: 0x88,
  count: 0x90,
  command: 0x98,
} as const
/** Bits 7:0 of the identification register; 31:16 are the revision. */
const ID = 0xed
/** Bits of the command register. `run` stays set until the transfer is done. */
const Command = { run: 1, fromBuffer: 2 } as const
/** Where the buffer lies in the device's own address space. */
const BUFFER = 0x4_0000
/**
 * Bytes of the buffer that can be used: it has one more, but QEMU 7.2 takes a transfer that ends at the end of the buffer for one
 * that leaves it, and stops the whole machine.
 */
export const EDU_BUFFER_BYTES = 4095
/** QEMU's device takes 100 ms of virtual time, which pass at once when its processor halts. */
const POLLS = 100_000

const Pci = { vendor: 0x00, command: 0x04, bar0: 0x10, memory: 0x2, master: 0x4 } as const

export const EduStatus = {
  ok: 0,
  /** The device did not end its transfer: the caller should reset it. */
  timedOut: -1,
} as const

export class EduDriver {
  readonly #port: EduPort
  readonly #base: number

  /** `base` is the physical address of BAR 0. StateError when no edu device answers there. */
  constructor(port: EduPort, base: number) {
    this.#port = port
    this.#base = base
    if ((port.read32(base + Register.id) & 0xff) !== ID) throw new StateError('edu', 'does not answer at its BAR')
    port.write32(base + Register.liveness, 0x1234_5678)
    // The register answers with the complement of what was written.
    if (port.read32(base + Register.liveness) !== 0xedcb_a987) throw new StateError('edu', 'fails its liveness check')
  }

  /** The device reads `length` bytes at bus address (`hi`:`lo`) into its buffer from `at`. {@link EduStatus}. */
  fetch(hi: number, lo: number, at: number, length: number): number {
    return this.#transfer(address(hi, lo), BigInt(buffer(at, length)), length, Command.run)
  }

  /** The device writes `length` bytes of its buffer from `at` to bus address (`hi`:`lo`). {@link EduStatus}. */
  store(hi: number, lo: number, at: number, length: number): number {
    return this.#transfer(BigInt(buffer(at, length)), address(hi, lo), length, Command.run | Command.fromBuffer)
  }

  /** The device raises an interrupt with `bits` (not 0) of its status, and takes them back. */
  interrupt(bits: number): void {
    this.#port.write32(this.#base + Register.interruptRaise, bits)
    this.#port.write32(this.#base + Register.interruptAcknowledge, bits)
  }

  #transfer(source: bigint, target: bigint, length: number, command: number): number {
    const port = this.#port
    const base = this.#base
    port.write64(base + Register.source, source)
    port.write64(base + Register.target, target)
    port.write32(base + Register.count, length)
    port.write32(base + Register.command, command)
    for (let polls = 0; polls < POLLS; polls++) {
      if ((port.read32(base + Register.command) & Command.run) === 0) return EduStatus.ok
      port.relax?.()
    }
    return EduStatus.timedOut
  }
}

/**
 * Places BAR 0 of the edu function at `bdf` at physical address `base` (1 MiB aligned, below 4 GiB), lets it decode and master the
 * bus, and returns its driver. StateError when there is no edu.
 */
export function openEdu(pci: ConfigPort, port: EduPort, bdf: number, base: number): EduDriver {
  if (pci.configRead(bdf, Pci.vendor, 4) !== ((EDU_DEVICE << 16) | EDU_VENDOR) >>> 0)
    throw new StateError('edu', `no such function at ${bdf.toString(16)}`)
  pci.configWrite(bdf, Pci.bar0, 4, base)
  pci.configWrite(bdf, Pci.command, 2, Pci.memory | Pci.master)
  return new EduDriver(port, base)
}

const address = (hi: number, lo: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)

function buffer(at: number, length: number): number {
  if (!(at >= 0 && length >= 1 && at + length <= EDU_BUFFER_BYTES))
    throw new BoundsError('edu buffer', at, length, EDU_BUFFER_BYTES)
  return BUFFER + at
}
