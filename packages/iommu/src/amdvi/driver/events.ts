/** The software side of the event log: reads what the unit wrote, and starts the log anew after it overflowed. */
import type { DriverPort, IommuFault } from '../../iommu-driver.ts'
import { EventCode, EventFlag } from '../spec/events.ts'
import { Control, Register, RING_ENTRY_BYTES, Status } from '../spec/registers.ts'

/** One page of events. */
const EVENTS = 256
/** An entry may be written after the tail moved (erratum 732): how often it is looked at again. */
const TRIES = 100

export class DriverEvents {
  declare readonly frame: number
  declare private readonly port: DriverPort
  declare private readonly base: number
  readonly #fault: IommuFault = {
    requester: 0,
    hi: 0,
    lo: 0,
    write: false,
    addressValid: true,
    hardwareReason: 0,
    lostBefore: false,
  }

  constructor(port: DriverPort, base: number, frame: number) {
    this.port = port
    this.base = base
    this.frame = frame
  }

  /** Calls `each` for every fault of a device in the log; the object is reused. */
  drain(each: (fault: IommuFault) => void): void {
    const port = this.port
    const status = this.base + Register.status
    const overflow = (port.read32(status) & Status.eventOverflow) !== 0
    // First the bit, then the log: an event that comes in between sets it again.
    port.write32(status, Status.eventInterrupt)
    let head = this.#offset(Register.eventHead)
    for (let tail = this.#offset(Register.eventTail); head !== tail;) {
      this.#read(head, overflow && ((head + 1) & (EVENTS - 1)) === tail, each)
      head = (head + 1) & (EVENTS - 1)
      if (head === tail && !overflow) tail = this.#offset(Register.eventTail)
    }
    port.write32(this.base + Register.eventHead, head * RING_ENTRY_BYTES)
    if (overflow) this.#restart()
  }

  #offset(register: number): number {
    return (port32(this.port, this.base + register) / RING_ENTRY_BYTES) & (EVENTS - 1)
  }

  #read(slot: number, lostBefore: boolean, each: (fault: IommuFault) => void): void {
    const port = this.port
    for (let tries = 0; port.loadHigh(this.frame, slot * 2) === 0 && tries < TRIES; tries++) port.relax()
    const word0 = port.loadLow(this.frame, slot * 2)
    const word1 = port.loadHigh(this.frame, slot * 2)
    const fault = this.#fault
    const code = word1 >>> 28
    const flags = (word1 >>> 16) & 0xfff
    fault.requester = word0 & 0xffff
    fault.lo = port.loadLow(this.frame, slot * 2 + 1)
    fault.hi = port.loadHigh(this.frame, slot * 2 + 1)
    // Interrupt messages are writes, which their events do not say.
    fault.write =
      (flags & (EventFlag.write | EventFlag.interrupt)) !== 0 ||
      (code === EventCode.invalidRequest && flags >>> EventFlag.typeShift !== 0)
    fault.addressValid =
      code === EventCode.illegalDeviceEntry || code === EventCode.pageFault || code === EventCode.invalidRequest
    fault.hardwareReason = code
    // A lost event came after every one that was there when it was lost: it precedes the last of them at the earliest.
    fault.lostBefore = lostBefore
    // So that the slot is seen to be empty the next time.
    port.storeCoherent128(this.frame, slot * 2, 0, 0, 0, 0)
    const ofDevice = code !== 0 && code !== EventCode.illegalCommand && code !== EventCode.commandError
    if (ofDevice) each(fault)
  }

  // Off, overflow cleared, ring empty, on (Linux amd_iommu_restart_event_logging).
  #restart(): void {
    const port = this.port
    const control = this.base + Register.control
    const value = port.read32(control)
    const high = port.read32(control + 4)
    port.write32(control, value & ~Control.eventLog)
    port.write32(control + 4, high)
    port.write32(this.base + Register.status, Status.eventOverflow)
    port.write32(this.base + Register.eventHead, 0)
    port.write32(this.base + Register.eventTail, 0)
    port.write32(control, value | Control.eventLog)
    port.write32(control + 4, high)
  }
}

function port32(port: DriverPort, address: number): number {
  return port.read32(address) >>> 0
}
