/**
 * The software side of the command buffer: commands gather in memory, one tail write and one COMPLETION_WAIT complete them all. A command
 * that the unit refuses, and a unit that does not answer, end in timedOut; nothing that waits for the invalidation may be freed then.
 */
import { DriverStatus, type DriverPort } from '../../iommu-driver.ts'
import { ALL_PAGES, CompletionWait, InvalidatePages, Opcode, OPCODE_SHIFT } from '../spec/commands.ts'
import { Control, Register, RING_ENTRY_BYTES, Status } from '../spec/registers.ts'

/** One page of commands. */
const COMMANDS = 256
/** Polls of the status word between two looks at the status register, which cost much more. */
const POLLS_PER_CHECK = 8
/** How often a buffer that stops is started anew before that counts as no answer. */
const MOST_RESTARTS = 3

/** What came of a COMPLETION_WAIT. */
const Answer = { done: 0, none: 1, halted: 2 } as const

export class DriverCommands {
  /** Page of the commands, page of the status word. */
  declare readonly frame: number
  declare readonly statusFrame: number
  declare private readonly port: DriverPort
  declare private readonly base: number
  declare private readonly timeout: number
  /** Queues what makes the unit forget everything. */
  readonly #everything: (commands: DriverCommands) => void
  #tail = 0
  /** Commands since the unit last answered: the ring must not overtake itself. */
  #pending = 0
  /** The unit did not answer: what was pushed may never have been executed. */
  #lost = false
  #restarting = false
  #sequence = 0

  constructor(
    port: DriverPort,
    base: number,
    frame: number,
    statusFrame: number,
    timeout: number,
    everything: (commands: DriverCommands) => void,
  ) {
    this.port = port
    this.base = base
    this.frame = frame
    this.statusFrame = statusFrame
    this.timeout = timeout
    this.#everything = everything
  }

  /** INVALIDATE_DEVTAB_ENTRY. */
  device(requester: number): number {
    return this.#push(requester, Opcode.invalidateDevice << OPCODE_SHIFT, 0, 0)
  }

  /** INVALIDATE_INTERRUPT_TABLE. */
  interrupts(requester: number): number {
    return this.#push(requester, Opcode.invalidateInterrupts << OPCODE_SHIFT, 0, 0)
  }

  /** INVALIDATE_IOMMU_PAGES of the 2^`order` pages at (`hi`:`lo`), which are naturally aligned. */
  pages(domain: number, hi: number, lo: number, order: number, directories: boolean): number {
    // The size is told by the lowest zero bit: bits below it, one less than the order has, are ones.
    const ones = order === 0 ? 0 : 2 ** (order - 1) - 1
    const flags = (order === 0 ? 0 : InvalidatePages.sized) | (directories ? InvalidatePages.directories : 0)
    const upper = hi | Math.floor(ones / 0x10_0000)
    return this.#push(0, (Opcode.invalidatePages << OPCODE_SHIFT) | domain, (lo & ~0xfff) | (ones << 12) | flags, upper)
  }

  /** INVALIDATE_IOMMU_PAGES of everything in `domain`. */
  domain(domain: number): number {
    const flags = InvalidatePages.sized | InvalidatePages.directories
    return this.#push(0, (Opcode.invalidatePages << OPCODE_SHIFT) | domain, ALL_PAGES.lo | flags, ALL_PAGES.hi)
  }

  /** INVALIDATE_IOMMU_ALL. */
  all(): number {
    return this.#push(0, Opcode.invalidateAll << OPCODE_SHIFT, 0, 0)
  }

  /**
   * Waits until all that was pushed has taken effect: ok or timedOut. After a time-out commands may be lost: the next call starts the
   * buffer anew and has the unit forget everything, so that an ok still means all that was ever pushed.
   */
  complete(): number {
    if (this.#pending === 0 && !this.#lost) return DriverStatus.ok
    let answer = this.#lost ? Answer.halted : this.#wait()
    for (let tries = 0; answer === Answer.halted && tries < MOST_RESTARTS; tries++) answer = this.#restart()
    this.#lost = answer !== Answer.done
    return this.#lost ? DriverStatus.timedOut : DriverStatus.ok
  }

  #push(word0: number, word1: number, word2: number, word3: number): number {
    // One slot stays free so that a full ring differs from an empty one, one is for the wait.
    if (this.#pending >= COMMANDS - 2 && !this.#makeRoom()) return DriverStatus.timedOut
    this.#store(word0, word1, word2, word3)
    return DriverStatus.ok
  }

  #makeRoom(): boolean {
    if (!this.#restarting) return this.complete() === DriverStatus.ok
    return this.#wait() === Answer.done
  }

  #store(word0: number, word1: number, word2: number, word3: number): void {
    this.port.storeCoherent128(this.frame, this.#tail * 2, word1, word0, word3, word2)
    this.#tail = (this.#tail + 1) & (COMMANDS - 1)
    this.#pending++
  }

  #wait(): number {
    const port = this.port
    if (this.#pending > COMMANDS - 2) return Answer.none
    const deadline = port.now() + this.timeout
    const sequence = (this.#sequence = (this.#sequence + 1) | 0)
    const { store, flush } = CompletionWait
    this.#store(
      (this.statusFrame << 12) | store | flush,
      (Opcode.completionWait << OPCODE_SHIFT) | (this.statusFrame >>> 20),
      sequence,
      0,
    )
    port.write32(this.base + Register.commandTail, this.#tail * RING_ENTRY_BYTES)
    for (let poll = 1; port.loadLow(this.statusFrame, 0) !== sequence; poll++) {
      if (poll % POLLS_PER_CHECK === 0) {
        if (port.now() > deadline) return Answer.none
        if (!this.#running) return Answer.halted
      }
      port.relax()
    }
    this.#pending = 0
    return Answer.done
  }

  // The unit stopped at a bad command (memory of ours was damaged), or no longer answers. Start the buffer anew, its head and tail 0
  // again, and forget everything to make up for what was not executed (Linux amd_iommu_reset_cmd_buffer).
  #restart(): number {
    const port = this.port
    const control = this.base + Register.control
    const value = port.read32(control)
    const high = port.read32(control + 4)
    port.write32(control, value & ~Control.commandBuffer)
    port.write32(control + 4, high)
    // What it is at may take a while; new commands must not meet it.
    const deadline = port.now() + this.timeout
    while (this.#running && port.now() <= deadline) port.relax()
    if (this.#running) return Answer.none
    port.write32(this.base + Register.commandHead, 0)
    port.write32(this.base + Register.commandTail, 0)
    port.write32(control, value | Control.commandBuffer)
    port.write32(control + 4, high)
    if (!this.#running) return Answer.none
    this.#tail = 0
    this.#pending = 0
    this.#restarting = true
    this.#everything(this)
    this.#restarting = false
    return this.#wait()
  }

  get #running(): boolean {
    return (this.port.read32(this.base + Register.status) & Status.commandRunning) !== 0
  }
}
