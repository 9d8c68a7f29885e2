/**
 * A domain's view of the machine: the only memory, register, configuration, event and hypercall ports that a guest gets.
 * The domain is the caller of everything here; nothing takes a domain id.
 */
import type { TaskGroup } from '@iospace/machine'

/** The domain's own memory, by pseudo-physical frame number (pfn). The arrays are the machine's flat memory: see LIMITS. */
export interface GuestPages {
  /** Pfns are 0…`pages`−1: memory plus spare slots for grants and foreign pages. */
  readonly pages: number
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly doubles: Float64Array
  readonly view: DataView
  /** Byte offset of a pfn's frame in `bytes`; −1 where the slot is empty. Changes with the slot: look up at each use. */
  frameOffset(pfn: number): number
  /** Machine frame in slot `pfn` (PV domains know their machine frames); −1 where it is empty. */
  machineFrame(pfn: number): number
  copy(to: number, from: number, length: number): void
  fill(at: number, value: number, length: number): void
}

export interface DomainView {
  readonly domid: number
  readonly name: string
  /** Tasks of this domain; they die with it. */
  readonly tasks: TaskGroup
  readonly memory: GuestPages
  /** The gate: number and up to five arguments; 0, a count, or a negative errno. Pointers are guest pointers (pfn << 12 | offset). */
  hypercall(nr: number, a1?: number, a2?: number, a3?: number, a4?: number, a5?: number): number
  /** Registers by machine address, inside the domain's MMIO permissions; elsewhere all ones / dropped. */
  read32(address: number): number
  write32(address: number, value: number): void
  /** Mediated configuration space by the domain's virtual sbdf. */
  configRead(sbdf: number, offset: number, size: number): number
  configWrite(sbdf: number, offset: number, size: number, value: number): void
  /** Virtual sbdfs of the domain's functions, ascending. */
  devices(): number[]
  /** Installs the event upcall: called between tasks when an unmasked event is pending and upcalls are not masked. */
  onUpcall(handler: () => void): void
  /** Virtual ns. */
  now(): number
  /** Counts work of the guest's CPU: index of `Count` and how many. */
  charge(kind: number, times?: number): void
  /** A pause in a polling loop: time passes, and a domain that never waits is found. */
  relax(): void
}
