/**
 * The unit as a driver sees it: its registers, and the device table, command buffer and event log that they point to. Switching on
 * follows facts B.7.
 */
import { DriverStatus, type DriverPort } from '../../iommu-driver.ts'
import { DEVICE_ENTRIES_PER_PAGE } from '../spec/device-table.ts'
import { decodeFeatures, type AmdviFeatures } from '../spec/features.ts'
import { Control, MESSAGE_ENABLE, Register, RingRegister, Status } from '../spec/registers.ts'
import { DriverCommands } from './commands.ts'
import { DriverDeviceTable } from './device-table.ts'
import { DriverEvents } from './events.ts'
import { DriverInterruptTables } from './interrupt-tables.ts'

export interface AmdviDriverOptions {
  /** Physical address of the unit's registers. */
  readonly base: number
  /** Virtual ns to wait for a command before it counts as lost. */
  readonly timeout?: number
  /** Requester ids below this get an entry of the device table; others are blocked. Default and most: 65536. */
  readonly requesters?: number
  /** NpCache of the unit's PCI capability, which has no register: new mappings need an invalidation. */
  readonly npCache?: boolean
  /** Programs and enables the MSI of the unit's PCI function; only asked where the unit has no registers for it. */
  readonly setMessage?: (addressLow: number, data: number) => void
}

const DEFAULT_TIMEOUT = 10e6
const REQUESTERS = 0x1_0000
const DOMAINS = 0x1_0000

export class DriverUnit {
  /** Null while the unit is off. */
  devices: DriverDeviceTable | null = null
  commands: DriverCommands | null = null
  events: DriverEvents | null = null
  interrupts: DriverInterruptTables
  readonly features: AmdviFeatures
  readonly #port: DriverPort
  readonly #base: number
  readonly #timeout: number
  readonly #deviceOrder: number
  readonly #setMessage: (addressLow: number, data: number) => void

  constructor(port: DriverPort, { base, timeout, requesters, setMessage }: AmdviDriverOptions) {
    this.#port = port
    this.interrupts = new DriverInterruptTables(port)
    this.#base = base
    this.#timeout = timeout ?? DEFAULT_TIMEOUT
    this.#setMessage = setMessage ?? (() => {})
    this.#deviceOrder = Math.ceil(Math.log2(Math.min(requesters ?? REQUESTERS, REQUESTERS) / DEVICE_ENTRIES_PER_PAGE))
    this.features = decodeFeatures({
      featuresLow: port.read32(base + Register.features),
      featuresHigh: port.read32(base + Register.features + 4),
      features2: port.read32(base + Register.features2),
    })
  }

  /** A driver status; after one that is not ok the unit is to be switched off. */
  switchOn(): number {
    const port = this.#port
    const base = this.#base
    if (!this.#stop()) return DriverStatus.timedOut
    const first = port.allocateRun(this.#deviceOrder)
    if (first < 0) return DriverStatus.noMemory
    const pages = 2 ** this.#deviceOrder
    this.devices = new DriverDeviceTable(port, first, pages)
    const [commands, status, events] = [port.allocatePage(), port.allocatePage(), port.allocatePage()]
    if (commands < 0 || status < 0 || events < 0) {
      for (const page of [commands, status, events]) if (page >= 0) port.freePage(page)
      return DriverStatus.noMemory
    }
    this.commands = new DriverCommands(port, base, commands, status, this.#timeout, (on) => this.#everything(on))
    this.events = new DriverEvents(port, base, events)
    const ring = RingRegister.minLength << RingRegister.lengthShift
    this.#write64(Register.deviceTable, first >>> 20, (first << 12) | (pages - 1))
    this.#write64(Register.commandBuffer, (commands >>> 20) | ring, commands << 12)
    this.#setControl(Control.coherent | Control.commandBuffer)
    this.#write64(Register.eventLog, (events >>> 20) | ring, events << 12)
    this.#setControl(Control.coherent | Control.commandBuffer | Control.eventLog)
    this.#setControl(Control.coherent | Control.commandBuffer | Control.eventLog | Control.enable)
    this.#everything(this.commands)
    return this.commands.complete()
  }

  /** Frees every page of {@link frames} too. */
  switchOff(): void {
    this.#setControl(0)
    for (const frame of this.frames()) this.#port.freePage(frame)
    this.devices = null
    this.commands = null
    this.events = null
    this.interrupts = new DriverInterruptTables(this.#port)
  }

  /** Pages that the registers point to. */
  frames(): number[] {
    const frames: number[] = []
    if (this.devices !== null)
      for (let page = 0; page < this.devices.pages; page++) frames.push(this.devices.first + page)
    if (this.commands !== null) frames.push(this.commands.frame, this.commands.statusFrame)
    if (this.events !== null) frames.push(this.events.frame)
    return [...frames, ...this.interrupts.frames()]
  }

  /** Lets every event send a message. */
  setMessage(addressLow: number, data: number): void {
    const port = this.#port
    if (this.features.messageRegisters) {
      port.write32(this.#base + Register.messageAddress, addressLow)
      port.write32(this.#base + Register.messageUpperAddress, 0)
      port.write32(this.#base + Register.messageData, data)
      port.write32(this.#base + Register.messageControl, MESSAGE_ENABLE)
    } else this.#setMessage(addressLow, data)
    this.#setControl(port.read32(this.#base + Register.control) | Control.eventInterrupt)
  }

  // Takes it from whoever had it before: off, nothing running any more, no ranges that bypass it, nothing left to tell. False when it goes on.
  #stop(): boolean {
    const port = this.#port
    const running = Status.commandRunning | Status.eventRunning
    this.#setControl(0)
    const deadline = port.now() + this.#timeout
    while ((port.read32(this.#base + Register.status) & running) !== 0) {
      if (port.now() > deadline) return false
      port.relax()
    }
    this.#write64(Register.exclusionBase, 0, 0)
    this.#write64(Register.exclusionLimit, 0, 0)
    port.write32(this.#base + Register.status, Status.clearable)
    return true
  }

  // What a unit may have cached since it was switched on by somebody else, or lost a command: all of it.
  #everything(commands: DriverCommands): void {
    if (this.features.invalidateAll) {
      commands.all()
      return
    }
    const requesters = this.devices === null ? 0 : this.devices.pages * DEVICE_ENTRIES_PER_PAGE
    let status: number = DriverStatus.ok
    for (let requester = 0; requester < requesters && status === DriverStatus.ok; requester++) {
      status = commands.device(requester)
      if (status === DriverStatus.ok) status = commands.interrupts(requester)
    }
    // A unit that does not answer is found out by who completes the commands.
    for (let domain = 0; domain < DOMAINS && status === DriverStatus.ok; domain++) status = commands.domain(domain)
  }

  #setControl(low: number): void {
    this.#write64(Register.control, 0, low)
  }

  #write64(register: number, hi: number, lo: number): void {
    this.#port.write32(this.#base + register, lo)
    this.#port.write32(this.#base + register + 4, hi)
  }
}
