/** An AMD-Vi unit: its registers and what they drive. It sits between the PCI root and memory by its {@link AmdviHardware.translator}. */
import type { Machine, MmioDevice } from '@iospace/machine'
import { RegisterFile } from '../register-file.ts'
import type { StaleHitHandler } from '../stale-hit.ts'
import { MachineTables, type TableMemory } from '../table-memory.ts'
import { AmdviCaches } from './hardware/caches.ts'
import { CommandBuffer } from './hardware/command-buffer.ts'
import { defineRegisters } from './hardware/define-registers.ts'
import { EventLog } from './hardware/event-log.ts'
import { AmdviFunction } from './hardware/function.ts'
import { InterruptRemapper } from './hardware/interrupt-remapper.ts'
import { StaleHits } from './hardware/stale-hits.ts'
import { AmdviTranslator } from './hardware/translator.ts'
import type { AmdviPersonality } from './personalities.ts'
import { Control, ControlHigh, DeviceTableRegister, Register, REGISTER_BYTES, RingRegister } from './spec/registers.ts'
import { AmdviWalk } from './walk.ts'

/** Where boards have the unit's registers; QEMU too. */
export const AMDVI_BASE = 0xfed8_0000

export interface AmdviHardwareOptions {
  /** How the unit reads and writes its tables and rings; default: the board's memory. */
  readonly tables?: TableMemory
  /** Where its registers are: {@link AMDVI_BASE}. */
  readonly base?: number
}

export class AmdviHardware implements MmioDevice {
  declare readonly personality: AmdviPersonality
  declare readonly translator: AmdviTranslator
  /** The unit on the PCI bus; for the board to put there. */
  declare readonly function: AmdviFunction
  /** Called when Control.Coherent changes: whether the unit looks into CPU caches. */
  onCoherent: (coherent: boolean) => void = () => {}
  readonly #registers = new RegisterFile(REGISTER_BYTES)
  declare private readonly log: EventLog
  declare private readonly interrupts: InterruptRemapper
  declare private readonly commands: CommandBuffer

  constructor(
    machine: Machine,
    personality: AmdviPersonality,
    { tables = new MachineTables(machine.memory), base = AMDVI_BASE }: AmdviHardwareOptions = {},
  ) {
    const { clock, memory, interrupts } = machine
    const walk = new AmdviWalk(tables, personality.features)
    const caches = new AmdviCaches(personality, memory, clock)
    this.personality = personality
    this.function = new AmdviFunction(personality, base, memory, interrupts)
    this.log = new EventLog(this.#registers, tables, () => this.function.send())
    this.interrupts = new InterruptRemapper(tables, walk, clock, interrupts, personality)
    this.commands = new CommandBuffer(this.#registers, tables, clock, caches, this.interrupts, this.log, personality)
    const staleHits = new StaleHits(memory, new AmdviWalk(tables, personality.features))
    this.translator = new AmdviTranslator(machine, personality, walk, caches, this.interrupts, this.log, staleHits)
    defineRegisters(this.#registers, personality)
  }

  /** See stale-hit.ts. */
  get onStaleHit(): StaleHitHandler | null {
    return this.translator.onStaleHit
  }

  set onStaleHit(handler: StaleHitHandler | null) {
    this.translator.onStaleHit = handler
  }

  read32(offset: number): number {
    return this.#isMessageRegister(offset) ? this.function.readMessageRegister(offset) : this.#registers.read(offset)
  }

  write32(offset: number, value: number): void {
    const registers = this.#registers
    if (this.#isLocked(offset)) return
    const before = registers.get(offset)
    registers.write(offset, value)
    switch (offset) {
      case Register.commandTail:
        this.commands.start()
        return
      case Register.status:
        this.log.signal()
        return
      case Register.control:
      case Register.control + 4:
        this.#controlChanged(offset === Register.control ? before : registers.get(Register.control))
        return
      case Register.commandBuffer:
      case Register.commandBuffer + 4:
        registers.set(Register.commandHead, 0)
        registers.set(Register.commandTail, 0)
        return
      case Register.eventLog:
      case Register.eventLog + 4:
        registers.set(Register.eventHead, 0)
        registers.set(Register.eventTail, 0)
        return
    }
    if (this.#isMessageRegister(offset)) this.function.writeMessageRegister(offset, value)
  }

  #isMessageRegister(offset: number): boolean {
    return (
      offset >= Register.messageControl && offset <= Register.messageData && this.personality.features.messageRegisters
    )
  }

  // Base registers hold still while what they describe is in use, ring pointers of hardware while it runs (facts B.2).
  #isLocked(offset: number): boolean {
    const control = this.#registers.get(Register.control)
    switch (offset) {
      case Register.deviceTable:
      case Register.deviceTable + 4:
        return (control & Control.enable) !== 0
      case Register.commandBuffer:
      case Register.commandBuffer + 4:
      case Register.commandHead:
        return (control & Control.commandBuffer) !== 0
      case Register.eventLog:
      case Register.eventLog + 4:
      case Register.eventTail:
        return (control & Control.eventLog) !== 0
      default:
        return false
    }
  }

  #controlChanged(before: number): void {
    const registers = this.#registers
    const control = registers.get(Register.control)
    const low = registers.get(Register.deviceTable)
    const table = (registers.get(Register.deviceTable + 4) & RingRegister.addressHigh) * 0x10_0000 + (low >>> 12)
    this.translator.configure((control & Control.enable) !== 0, table, (low & DeviceTableRegister.sizeMask) + 1)
    this.interrupts.wide = (control & Control.guestApic) !== 0
    const mode =
      (registers.get(Register.control + 4) >>> ControlHigh.interruptModeShift) & ControlHigh.interruptModeMask
    this.interrupts.allTypes = mode === ControlHigh.interruptMode2K
    if (((control ^ before) & Control.coherent) !== 0) this.onCoherent((control & Control.coherent) !== 0)
    this.commands.update()
    this.log.update()
  }
}
