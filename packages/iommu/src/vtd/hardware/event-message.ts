/**
 * One of a unit's own interrupts (fault event, invalidation event): control, data and address registers, and the rules of IM and IP
 * (facts A.4): masked, a message stays pending; unmasked, it is sent; when its cause is gone, a pending one is dropped. These messages are
 * never remapped.
 */
import type { InterruptController, MachineMemory } from '@iospace/machine'
import { inInterruptWindow } from '@iospace/machine'
import type { RegisterFile } from '../../register-file.ts'
import { EventControl } from '../spec/registers.ts'

export class EventMessage {
  declare private readonly registers: RegisterFile
  declare private readonly memory: MachineMemory
  declare private readonly interrupts: InterruptController
  declare private readonly control: number

  /** `control` is the offset of the control register; data, address and (with `extended`, ECAP.EIM) upper address follow it. */
  constructor(
    registers: RegisterFile,
    control: number,
    memory: MachineMemory,
    interrupts: InterruptController,
    extended: boolean,
  ) {
    this.registers = registers
    this.memory = memory
    this.interrupts = interrupts
    this.control = control
    registers.define(control, EventControl.masked, EventControl.masked)
    registers.define(control + 4, 0, 0xffff)
    registers.define(control + 8, 0, -4)
    registers.define(control + 12, 0, extended ? -1 : 0)
  }

  /** The cause arose. */
  raise(): void {
    const control = this.registers.get(this.control) | EventControl.pending
    this.registers.set(this.control, control)
    this.update()
  }

  /** The cause is gone. */
  withdraw(): void {
    this.registers.set(this.control, this.registers.get(this.control) & ~EventControl.pending)
  }

  /** Sends what is pending and not masked: called after a write of the control register too. */
  update(): void {
    const control = this.registers.get(this.control)
    if ((control & EventControl.pending) === 0 || (control & EventControl.masked) !== 0) return
    this.withdraw()
    const data = this.registers.get(this.control + 4)
    const low = this.registers.get(this.control + 8)
    const high = this.registers.get(this.control + 12)
    if (inInterruptWindow(high, low)) {
      this.interrupts.message(data)
      return
    }
    const at = this.memory.offset(high, low)
    if (at >= 0) this.memory.words[at >>> 2] = data
  }
}
