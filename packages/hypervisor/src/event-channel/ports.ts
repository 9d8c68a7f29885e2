/**
 * A domain's event channel ports (two-level form): what each port is bound to, in flat arrays, and the delivery of an event through the
 * bitmaps of shared_info. Source: xen/common/event_channel.c, event_2l.c.
 */
import { EVTCHN_2L_NR_CHANNELS, EVTCHNSTAT, NR_VIRQS, shared_info, vcpu_info } from '@iospace/abi'
import type { GuestMemory } from '../guest-memory.ts'

const PENDING = shared_info.offsets.evtchn_pending
const MASK = shared_info.offsets.evtchn_mask
const UPCALL_PENDING = vcpu_info.offsets.evtchn_upcall_pending
const UPCALL_MASK = vcpu_info.offsets.evtchn_upcall_mask
const PENDING_SEL = vcpu_info.offsets.evtchn_pending_sel
const FIRST_PORTS = 64

export class EventPorts {
  declare private readonly guest: GuestMemory
  /** Frame index of the shared_info page. */
  declare private readonly shared: number
  /** Called when an upcall became due. */
  declare private readonly kick: () => void
  /** EVTCHNSTAT by port. */
  state = new Uint8Array(FIRST_PORTS)
  /** Other domain (unbound, interdomain), pirq or virq by port. */
  remote = new Int32Array(FIRST_PORTS)
  /** The other domain's port of an interdomain channel. */
  remotePort = new Int32Array(FIRST_PORTS)
  /** Port by virq; 0: not bound. */
  readonly virqPort = new Int32Array(NR_VIRQS)
  /** Most ports, from createdomain. */
  declare readonly limit: number

  constructor(guest: GuestMemory, shared: number, limit: number, kick: () => void) {
    this.guest = guest
    this.shared = shared
    this.kick = kick
    this.limit = Math.min(limit, EVTCHN_2L_NR_CHANNELS)
  }

  /** True for a port that is in use. */
  valid(port: number): boolean {
    return port > 0 && port < this.state.length && this.state[port] !== EVTCHNSTAT.closed
  }

  /** The lowest free port, set to `state`; −1 when there is none. */
  allocate(state: number, remote: number, remotePort = 0): number {
    let port = 1
    while (port < this.state.length && this.state[port] !== EVTCHNSTAT.closed) port++
    if (port >= this.limit) return -1
    if (port === this.state.length) this.#grow()
    this.bind(port, state, remote, remotePort)
    return port
  }

  bind(port: number, state: number, remote: number, remotePort = 0): void {
    this.state[port] = state
    this.remote[port] = remote
    this.remotePort[port] = remotePort
  }

  /** Frees the port and takes back what was pending on it. */
  free(port: number): void {
    this.bind(port, EVTCHNSTAT.closed, 0)
    this.guest.clearBit(this.shared, PENDING, port)
  }

  /** Marks an event on `port`: pending bit, then unless masked its word's bit in the selector, then the upcall. */
  raise(port: number): void {
    const guest = this.guest
    if (guest.setBit(this.shared, PENDING, port) || guest.testBit(this.shared, MASK, port)) return
    this.#select(port)
  }

  /** Clears the mask; what is pending is delivered. */
  unmask(port: number): void {
    const guest = this.guest
    if (guest.clearBit(this.shared, MASK, port) && guest.testBit(this.shared, PENDING, port)) this.#select(port)
  }

  pending(port: number): boolean {
    return this.guest.testBit(this.shared, PENDING, port)
  }

  /** True when an upcall is due: something is selected and upcalls are not masked. */
  get upcallDue(): boolean {
    const word = this.guest.load32(this.shared, 0)
    return ((word >>> (8 * UPCALL_PENDING)) & 0xff) !== 0 && ((word >>> (8 * UPCALL_MASK)) & 0xff) === 0
  }

  /** Masks or unmasks upcalls, as the entry and the return of an event handler do. */
  maskUpcalls(masked: boolean): void {
    const word = this.guest.load32(this.shared, 0) & ~(0xff << (8 * UPCALL_MASK))
    this.guest.store32(this.shared, 0, masked ? word | (1 << (8 * UPCALL_MASK)) : word)
  }

  #select(port: number): void {
    const guest = this.guest
    if (guest.setBit(this.shared, PENDING_SEL, port >> 6)) return
    guest.setBit(this.shared, UPCALL_PENDING, 0)
    this.kick()
  }

  #grow(): void {
    const ports = Math.min(this.state.length * 2, EVTCHN_2L_NR_CHANNELS)
    const { state, remote, remotePort } = this
    this.state = new Uint8Array(ports)
    this.state.set(state)
    this.remote = new Int32Array(ports)
    this.remote.set(remote)
    this.remotePort = new Int32Array(ports)
    this.remotePort.set(remotePort)
  }
}
