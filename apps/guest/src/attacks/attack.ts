/** One attack with the rogue device on memory that is somebody else's: read it, overwrite it, look, put it back. */
import { Direction, type Kernel, type KernelBuffer } from '@iospace/linux'
import type { FaultRing } from './fault-ring.ts'
import { BLOCKED, type Rogue } from './rogue-driver.ts'

/** What stands on the host's side and sees memory as it is, whoever may reach it. */
export interface Oracle {
  /** A copy of the bytes at a machine address. */
  snapshot(address: number, length: number): Uint8Array
  /** Puts bytes back. */
  restore(address: number, bytes: Uint8Array): void
  /** Interrupt messages with `vector` that the machine has received. */
  interrupts(vector: number): number
}

export interface AttackRow {
  readonly name: string
  readonly attempted: boolean
  readonly reachedHardware: boolean
  readonly blocked: boolean
  readonly bytesChanged: number
  readonly control: boolean
  readonly faultSeen: boolean
  readonly restored: boolean
  readonly skipped?: string
}

/** Bytes that an attack reads and overwrites. */
const LENGTH = 64
/** Virtual ns after which a fault has arrived, or never will. */
export const FAULT_TIME = 20e6

export const skipped = (name: string, why: string): AttackRow => ({
  name,
  attempted: false,
  reachedHardware: false,
  blocked: false,
  bytesChanged: 0,
  control: false,
  faultSeen: false,
  restored: true,
  skipped: why,
})

/** Reads and overwrites {@link LENGTH} bytes at machine address `address`. `control` tells whether a legal access succeeded before. */
export async function attackMemory(
  kernel: Kernel,
  rogue: Rogue,
  oracle: Oracle,
  ring: FaultRing | null,
  name: string,
  address: number,
  control: boolean,
): Promise<AttackRow> {
  const before = oracle.snapshot(address, LENGTH)
  // Different from what is there in every byte, so that what changes can be counted.
  const poison = before.map((byte) => byte ^ 0xa5)
  const stolen = new Uint8Array(LENGTH)
  const firstFault = ring?.faults.length ?? 0
  const read = rogue.read(address, stolen)
  const write = rogue.write(address, poison)
  const after = oracle.snapshot(address, LENGTH)
  const bytesChanged = differences(before, after)
  if (bytesChanged > 0) oracle.restore(address, before)
  const restored = differences(before, oracle.snapshot(address, LENGTH)) === 0
  await kernel.sleep(FAULT_TIME)
  const page = address - (address % 4096)
  const faults =
    ring?.faults.slice(firstFault).filter((fault) => fault.ioAddress - (fault.ioAddress % 4096) === page) ?? []
  return {
    name,
    attempted: true,
    reachedHardware: read !== 0 && write !== 0,
    blocked: read === BLOCKED && write === BLOCKED && stolen.every((byte) => byte === 0),
    bytesChanged,
    control,
    faultSeen: faults.some((fault) => fault.write) && faults.some((fault) => !fault.write),
    restored,
  }
}

/** A legal access: the device reads and writes a page of this domain's own. True when the bytes arrived both ways. */
export function ownMemoryWorks(kernel: Kernel, rogue: Rogue): boolean {
  const page = kernel.memory.allocate(4096)
  if (page === null) return false
  const works = ((): boolean => {
    using mapping = rogue.device.dma.map(page, Direction.bidirectional)
    return mapping !== null && roundTrip(rogue, mapping.address, page)
  })()
  kernel.memory.free(page)
  return works
}

/** At bus address `address` the device reads what the CPU wrote to `page`, and the CPU what the device wrote. */
export function roundTrip(rogue: Rogue, address: number, page: KernelBuffer): boolean {
  const out = Uint8Array.from({ length: LENGTH }, (_, i) => 255 - i)
  const back = Uint8Array.from({ length: LENGTH }, (_, i) => (i * 7) & 0xff)
  const seen = new Uint8Array(LENGTH)
  page.write(0, out)
  if (rogue.read(address, seen) <= 0 || differences(out, seen) > 0) return false
  if (rogue.write(address, back) <= 0) return false
  return differences(back, page.read(0, seen)) === 0
}

function differences(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((sum, byte, i) => sum + (byte === b[i] ? 0 : 1), 0)
}
