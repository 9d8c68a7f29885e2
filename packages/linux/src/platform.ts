/**
 * What a kernel needs of the machine below it. Bare metal or a domain's view is adapted to it (by the lab); the kernel never sees
 * which. The pages' arrays are flat memory that holds every frame: a kernel only touches what `frameOffset` gave it (see LIMITS).
 */
import type { TaskGroup } from '@iospace/machine'

export interface PlatformMemory {
  /** Page frame numbers are 0…`pages`−1: memory plus spare slots for grants and foreign pages. */
  readonly pages: number
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly doubles: Float64Array
  readonly view: DataView
  /** Byte offset of a pfn's frame in `bytes`; −1 where nothing is there. Changes with the slot: look up at each use. */
  frameOffset(pfn: number): number
  /** Machine frame of `pfn`, for bus addresses; −1 where nothing is there. On bare metal the pfn itself. */
  machineFrame(pfn: number): number
  copy(to: number, from: number, length: number): void
  fill(at: number, value: number, length: number): void
}

/** An interrupt message: what a function writes where. */
export interface InterruptMessage {
  readonly address: number
  readonly data: number
}

/** Interrupt vectors, where the kernel owns them. */
export interface PlatformInterrupts {
  /** A free vector that calls `handler` between tasks; null when none is left. */
  connect(handler: () => void): InterruptMessage | null
  disconnect(message: InterruptMessage): void
}

export interface Platform {
  /** For messages. */
  readonly name: string
  readonly tasks: TaskGroup
  readonly memory: PlatformMemory
  /** The hypercall gate; null on bare metal. */
  readonly hypercall: ((nr: number, a1?: number, a2?: number, a3?: number, a4?: number, a5?: number) => number) | null
  read32(address: number): number
  write32(address: number, value: number): void
  configRead(sbdf: number, offset: number, size: number): number
  configWrite(sbdf: number, offset: number, size: number, value: number): void
  /** Functions that the kernel may bind drivers to, ascending. */
  devices(): number[]
  /** Bare metal only: a domain's interrupts are event channels. */
  readonly interrupts?: PlatformInterrupts
  /** Event upcall of a domain. */
  onUpcall(handler: () => void): void
  now(): number
  charge(kind: number, times?: number): void
  relax(): void
}
