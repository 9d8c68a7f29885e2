/**
 * GCMD: one-shot commands and switches, each of which takes effect some time after its write; GSTS tells (facts A.1). A command that the unit
 * does not have is ignored: its status bit never changes.
 */
import type { Clock } from '@iospace/machine'
import type { RegisterFile } from '../../register-file.ts'
import type { VtdPersonality } from '../personalities.ts'
import { GlobalCommand, Register } from '../spec/registers.ts'
import type { FaultLog } from './fault-log.ts'
import type { InterruptRemapper } from './interrupt-remapper.ts'
import type { InvalidationQueue } from './invalidation-queue.ts'

/** What commands change beside the parts that are given. */
export interface CommandEffects {
  /** TE took effect. */
  setTranslation(on: boolean): void
  /** SRTP latched RTADDR: the root table's frame. */
  setRootTable(frame: number): void
  /** WBF. */
  flushWriteBuffer(): void
}

export class GlobalCommands {
  declare private readonly registers: RegisterFile
  declare private readonly clock: Clock
  declare private readonly delay: number
  declare private readonly queue: InvalidationQueue
  declare private readonly remapper: InterruptRemapper
  declare private readonly log: FaultLog
  declare private readonly effects: CommandEffects
  /** Commands that the unit has. */
  declare private readonly known: number
  /** The commanded state of the switches; GSTS follows late. */
  #commanded = 0
  /** Counts resets: a command from before one has no effect. */
  #resets = 0

  constructor(
    registers: RegisterFile,
    clock: Clock,
    { capabilities, timing }: VtdPersonality,
    queue: InvalidationQueue,
    remapper: InterruptRemapper,
    log: FaultLog,
    effects: CommandEffects,
  ) {
    const { translation, rootTable, writeBuffer, interruptRemapping, interruptTable, compatibilityInterrupts } =
      GlobalCommand
    this.registers = registers
    this.clock = clock
    this.delay = timing.command
    this.queue = queue
    this.remapper = remapper
    this.log = log
    this.effects = effects
    this.known =
      translation |
      rootTable |
      (capabilities.writeBufferFlush ? writeBuffer : 0) |
      (capabilities.queue ? GlobalCommand.queue : 0) |
      (capabilities.interruptRemapping ? interruptRemapping | interruptTable | compatibilityInterrupts : 0)
  }

  /** GCMD was written. */
  write(value: number): void {
    const { translation, rootTable, writeBuffer, interruptRemapping, interruptTable, compatibilityInterrupts } =
      GlobalCommand
    const command = value & this.known
    const changed = (command ^ this.#commanded) & GlobalCommand.persistent
    this.#commanded ^= changed
    if ((command & rootTable) !== 0) this.#once(rootTable, () => this.effects.setRootTable(this.#frame()))
    if ((command & interruptTable) !== 0) {
      const { interruptTable: at } = Register
      const { registers, remapper } = this
      this.#once(interruptTable, () => remapper.setTable(registers.get(at + 4), registers.get(at)))
    }
    if ((command & writeBuffer) !== 0) {
      this.#setStatus(writeBuffer, true)
      this.#later(() => {
        this.effects.flushWriteBuffer()
        this.#setStatus(writeBuffer, false)
      })
    }
    if ((changed & GlobalCommand.queue) !== 0) this.#later(() => this.#setQueue((command & GlobalCommand.queue) !== 0))
    if ((changed & translation) !== 0)
      this.#switch(translation, (command & translation) !== 0, (on) => this.effects.setTranslation(on))
    if ((changed & interruptRemapping) !== 0)
      this.#switch(interruptRemapping, (command & interruptRemapping) !== 0, (on) => (this.remapper.enabled = on))
    if ((changed & compatibilityInterrupts) !== 0)
      this.#switch(
        compatibilityInterrupts,
        (command & compatibilityInterrupts) !== 0,
        (on) => (this.remapper.compatibility = on),
      )
  }

  reset(): void {
    this.#commanded = 0
    this.#resets++
  }

  #frame(): number {
    const { registers } = this
    return (registers.get(Register.rootTable + 4) >>> 0) * 0x10_0000 + (registers.get(Register.rootTable) >>> 12)
  }

  // The status bit of a one-shot command drops while it runs.
  #once(bit: number, action: () => void): void {
    this.#setStatus(bit, false)
    this.#later(() => {
      action()
      this.#setStatus(bit, true)
    })
  }

  #switch(bit: number, on: boolean, action: (on: boolean) => void): void {
    this.#later(() => {
      action(on)
      this.#setStatus(bit, on)
      // With neither translation nor remapping on, the next fault goes to the first record.
      const { translation, interruptRemapping } = GlobalCommand
      if ((this.registers.get(Register.globalStatus) & (translation | interruptRemapping)) === 0) this.log.rewind()
    })
  }

  #setQueue(on: boolean): void {
    const { queue } = this
    if (on) {
      queue.enable()
      this.#setStatus(GlobalCommand.queue, true)
      return
    }
    queue.whenEmpty(() => {
      queue.disable()
      this.#setStatus(GlobalCommand.queue, false)
    })
  }

  #setStatus(bit: number, on: boolean): void {
    const status = this.registers.get(Register.globalStatus)
    this.registers.set(Register.globalStatus, on ? status | bit : status & ~bit)
  }

  #later(action: () => void): void {
    const resets = this.#resets
    this.clock.after(this.delay, () => {
      if (resets === this.#resets) action()
    })
  }
}
