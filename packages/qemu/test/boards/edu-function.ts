/**
 * The educational device as a function on our board: the registers that its driver uses, and DMA page by page, each page for itself.
 * A page that cannot be read reads as zeros, as in QEMU.
 */
import { PciFunction, type MachineMemory, type MmioDevice } from '@iospace/machine'

const BUFFER = 0x4_0000
const BUFFER_BYTES = 4096
const PAGE = 4096
const RUN = 1
const FROM_BUFFER = 2

export class EduFunction extends PciFunction {
  readonly #memory: MachineMemory
  readonly #buffer: number

  /** Takes its buffer from the board memory of `memory`. */
  constructor(memory: MachineMemory) {
    const registers = new EduRegisters((command) => this.#start(command))
    super({
      vendorId: 0x1234,
      deviceId: 0x11e8,
      classCode: 0x00ff00,
      bars: [{ index: 0, bytes: 0x10_0000, wide: false, registers }],
    })
    this.#memory = memory
    this.#buffer = memory.boardMemory(BUFFER_BYTES)
  }

  protected override onReset(): void {}

  #start({ source, target, count, command }: Transfer): void {
    const fromBuffer = (command & FROM_BUFFER) !== 0
    const inside = Number(fromBuffer ? source : target) - BUFFER
    if (inside < 0 || count < 1 || inside + count > BUFFER_BYTES) return
    this.#move(fromBuffer, fromBuffer ? target : source, this.#buffer + inside, count)
  }

  #move(write: boolean, address: bigint, at: number, count: number): void {
    for (let done = 0; done < count;) {
      const there = BigInt.asUintN(64, address + BigInt(done))
      const hi = Number(there >> 32n) | 0
      const lo = Number(there & 0xffff_ffffn) | 0
      const piece = Math.min(count - done, PAGE - (lo & (PAGE - 1)))
      if (write) this.dmaWrite(hi, lo, at + done, piece)
      else if (this.dmaRead(hi, lo, at + done, piece) < 0) this.#memory.fill(at + done, 0, piece)
      done += piece
    }
  }
}

interface Transfer {
  source: bigint
  target: bigint
  count: number
  command: number
}

/** The transfer is done by the time that its command can be read. */
class EduRegisters implements MmioDevice {
  readonly #start: (transfer: Transfer) => void
  readonly #transfer: Transfer = { source: 0n, target: 0n, count: 0, command: 0 }
  #liveness = 0

  constructor(start: (transfer: Transfer) => void) {
    this.#start = start
  }

  read32(offset: number): number {
    if (offset === 0) return 0x0100_00ed
    return offset === 4 ? ~this.#liveness : offset === 0x98 ? this.#transfer.command & ~RUN : 0
  }

  write32(offset: number, value: number): void {
    this.write64(offset, BigInt(value))
  }

  write64(offset: number, value: bigint): void {
    if (offset === 0x04) this.#liveness = Number(value & 0xffff_ffffn)
    if (offset === 0x80) this.#transfer.source = value
    if (offset === 0x88) this.#transfer.target = value
    if (offset === 0x90) this.#transfer.count = Number(value & 0xffff_ffffn)
    if (offset !== 0x98) return
    this.#transfer.command = Number(value & 0xffn)
    if ((this.#transfer.command & RUN) !== 0) this.#start(this.#transfer)
  }
}
