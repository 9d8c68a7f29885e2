/**
 * The command buffer (facts B.5; AMD 48882 “Command Buffer”). Commands take effect late, in virtual time, and in order. An illegal
 * command, or one that cannot be read, is logged and stops the buffer at it, until CmdBufEn is switched off and on again (VirtualBox,
 * and what Linux's reset of the buffer expects; QEMU goes on).
 */
import type { Clock, ClockTimer } from '@iospace/machine'
import type { RegisterFile } from '../../register-file.ts'
import type { TableMemory } from '../../table-memory.ts'
import type { AmdviPersonality } from '../personalities.ts'
import {
  CompletionWait,
  InvalidateAll,
  InvalidateDevice,
  InvalidatePages,
  Opcode,
  OPCODE_SHIFT,
  ORDER_ALL,
  Prefetch,
} from '../spec/commands.ts'
import { HardwareErrorType } from '../spec/events.ts'
import { Control, Register, RING_ENTRY_BYTES, RingRegister, Status } from '../spec/registers.ts'
import type { AmdviCaches } from './caches.ts'
import type { EventLog } from './event-log.ts'
import type { InterruptRemapper } from './interrupt-remapper.ts'

export class CommandBuffer {
  declare private readonly registers: RegisterFile
  declare private readonly tables: TableMemory
  declare private readonly timer: ClockTimer
  declare private readonly caches: AmdviCaches
  declare private readonly interrupts: InterruptRemapper
  declare private readonly log: EventLog
  declare private readonly personality: AmdviPersonality
  /** Of the ring, from when it was switched on: first frame, bytes − 1. */
  #base = 0
  #mask = 0
  #until = 0
  #on = false
  #running = false

  constructor(
    registers: RegisterFile,
    tables: TableMemory,
    clock: Clock,
    caches: AmdviCaches,
    interrupts: InterruptRemapper,
    log: EventLog,
    personality: AmdviPersonality,
  ) {
    this.registers = registers
    this.tables = tables
    this.timer = clock.timer(() => this.#run())
    this.caches = caches
    this.interrupts = interrupts
    this.log = log
    this.personality = personality
  }

  /** The control register was written: switching the buffer on starts it anew. */
  update(): void {
    const { registers } = this
    const control = registers.get(Register.control)
    const high = registers.get(Register.commandBuffer + 4)
    const log2 = (high >>> RingRegister.lengthShift) & RingRegister.lengthMask
    const on =
      (control & Control.enable) !== 0 && (control & Control.commandBuffer) !== 0 && log2 >= RingRegister.minLength
    if (on && !this.#on) {
      this.#base = (high & RingRegister.addressHigh) * 0x10_0000 + (registers.get(Register.commandBuffer) >>> 12)
      this.#mask = (RING_ENTRY_BYTES << log2) - 1
      this.#setRunning(true)
    }
    if (!on) {
      this.#setRunning(false)
      this.timer.cancel()
    }
    this.#on = on
    this.start()
  }

  /** The tail moved. */
  start(): void {
    if (!this.#running || this.timer.pending) return
    // Pointers beyond the ring wrap (48882 leaves them undefined).
    const mask = this.#mask
    this.#until = this.registers.get(Register.commandTail) & mask
    const waiting = ((this.#until - this.registers.get(Register.commandHead)) & mask) / RING_ENTRY_BYTES
    if (waiting === 0) return
    const { queue, command } = this.personality.timing
    this.timer.start(queue + command * (waiting - 1))
  }

  #setRunning(on: boolean): void {
    const status = this.registers.get(Register.status)
    this.registers.set(Register.status, on ? status | Status.commandRunning : status & ~Status.commandRunning)
    this.#running = on
  }

  #run(): void {
    const registers = this.registers
    const mask = this.#mask
    const until = this.#until
    let head = registers.get(Register.commandHead) & mask
    // Up to the last wait everything completes, writes on their way included, before anybody can tell.
    let drained = this.#drainedCommands(head, until)
    if (drained > 0) this.caches.posted.drain()
    for (; head !== until; drained--) {
      if (!this.#execute(head, drained > 0)) {
        this.#setRunning(false)
        return
      }
      head = (head + RING_ENTRY_BYTES) & mask
      registers.set(Register.commandHead, head)
    }
    this.start()
  }

  #at(head: number): number {
    return this.tables.entryAt(this.#base + (head >>> 12), (head & 0xfff) >>> 3)
  }

  // How many commands from `head` on have a COMPLETION_WAIT behind them before `until`, itself included; nearly always all.
  #drainedCommands(head: number, until: number): number {
    const mask = this.#mask
    for (let end = until; end !== head; end = (end - RING_ENTRY_BYTES) & mask) {
      const at = this.#at((end - RING_ENTRY_BYTES) & mask)
      if (at >= 0 && this.tables.words[at + 1]! >>> OPCODE_SHIFT === Opcode.completionWait)
        return ((end - head) & mask) / RING_ENTRY_BYTES
    }
    return 0
  }

  // False for a command after which the buffer stops; it is logged then.
  #execute(head: number, drained: boolean): boolean {
    const at = this.#at(head)
    if (at < 0) return this.#failed(at, this.#addressHigh(head), this.#addressLow(head))
    const { words } = this.tables
    const word0 = words[at]!
    const word1 = words[at + 1]!
    const word2 = words[at + 2]!
    const word3 = words[at + 3]!
    const { features } = this.personality
    let legal = false
    switch (word1 >>> OPCODE_SHIFT) {
      case Opcode.completionWait:
        legal = (word1 & CompletionWait.reserved1) === 0
        if (legal) return this.#complete(word0, word1, word2, word3)
        break
      case Opcode.invalidateDevice:
        legal = ((word0 & InvalidateDevice.reserved0) | (word1 & InvalidateDevice.reserved1) | word2 | word3) === 0
        if (legal) this.#invalidateDevice(word0)
        break
      case Opcode.invalidatePages: {
        const { reserved0, reserved1, reserved2, guest } = InvalidatePages
        legal = ((word0 & reserved0) | (word1 & reserved1) | (word2 & (reserved2 | guest))) === 0
        if (legal) this.#invalidatePages(word1 & 0xffff, word3, word2, drained)
        break
      }
      case Opcode.invalidateInterrupts:
        legal = ((word0 & InvalidateDevice.reserved0) | (word1 & InvalidateDevice.reserved1) | word2 | word3) === 0
        if (legal) this.interrupts.invalidate(word0)
        break
      case Opcode.prefetch:
        legal =
          features.prefetch &&
          ((word0 & Prefetch.reserved0) | (word1 & Prefetch.reserved1) | (word2 & Prefetch.reserved2)) === 0
        break
      case Opcode.invalidateAll:
        legal = features.invalidateAll && (word0 | (word1 & InvalidateAll.reserved1) | word2 | word3) === 0
        if (legal) this.#invalidateAll(drained)
        break
      // Device TLBs and page requests are not advertised: their commands are as illegal as unknown ones.
    }
    if (!legal) this.log.command(0, this.#addressHigh(head), this.#addressLow(head))
    return legal
  }

  #invalidateDevice(requester: number): void {
    this.caches.invalidateDevice(requester)
    this.interrupts.invalidateDevice(requester)
    this.log.forgetRaised(requester)
  }

  #invalidatePages(domain: number, hi: number, flags: number, drained: boolean): void {
    const order = (flags & InvalidatePages.sized) === 0 ? 0 : sizedOrder(hi, flags)
    this.caches.invalidatePages(domain, hi, flags & ~0xfff, order, (flags & InvalidatePages.directories) !== 0, drained)
  }

  #invalidateAll(drained: boolean): void {
    this.caches.invalidateAll(drained)
    this.interrupts.invalidateAll()
    this.log.forgetAllRaised()
  }

  // Everything before it has taken effect: commands run in order.
  #complete(word0: number, word1: number, word2: number, word3: number): boolean {
    if ((word0 & CompletionWait.store) !== 0) {
      const hi = word1 & CompletionWait.addressHigh
      const lo = word0 & CompletionWait.addressLow
      const at = this.tables.entryAt(hi * 0x10_0000 + (lo >>> 12), (lo & 0xfff) >>> 3)
      if (at < 0) return this.#failed(at, hi, lo)
      this.tables.words[at] = word2
      this.tables.words[at + 1] = word3
    }
    if ((word0 & CompletionWait.interrupt) !== 0) {
      this.registers.set(Register.status, this.registers.get(Register.status) | Status.waitInterrupt)
      this.log.signal()
    }
    return true
  }

  #failed(at: number, hi: number, lo: number): boolean {
    this.log.command(at === -1 ? HardwareErrorType.masterAbort : HardwareErrorType.dataError, hi, lo)
    return false
  }

  #addressHigh(head: number): number {
    const low = this.registers.get(Register.commandBuffer) & RingRegister.addressMask
    const carry = (low >>> 0) + head > 0xffff_ffff ? 1 : 0
    return (this.registers.get(Register.commandBuffer + 4) & RingRegister.addressHigh) + carry
  }

  #addressLow(head: number): number {
    return ((this.registers.get(Register.commandBuffer) & RingRegister.addressMask) + head) | 0
  }
}

/** log2 of the 4 KiB pages of an address with S: 2^(first zero bit from 12 up + 1) bytes. */
export function sizedOrder(hi: number, lo: number): number {
  const zeros = ~(lo >> 12)
  if ((zeros & 0xf_ffff) !== 0) return 1 + (31 - Math.clz32(zeros & -zeros))
  const more = ~hi
  return more === 0 ? ORDER_ALL : Math.min(ORDER_ALL, 21 + (31 - Math.clz32(more & -more)))
}
