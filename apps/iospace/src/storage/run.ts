/** One storage run: builds the system, runs it, and gathers what happened. */
import { createHash } from 'node:crypto'
import { dom0 } from '@iospace/dom0'
import { driverDomain, type DriverDomainCounts } from '@iospace/driver-domain'
import { guest, type GuestResult } from '@iospace/guest'
import type { BlockStore } from '@iospace/devices'
import { buildSystem, planOf, type Program, type System, type SystemOutcome } from '@iospace/lab'
import type { TraceSink } from '@iospace/machine'
import { Name, storageSystem, type StorageSystem } from './system.ts'

export interface StorageRun {
  readonly system: StorageSystem
  readonly image: BlockStore
  readonly out: BlockStore | null
  /** Hash what arrives (P18 measures without), and attack. */
  readonly hash?: boolean
  readonly attack?: boolean
  readonly trace?: TraceSink
  readonly onProgress?: (done: number, total: number) => void
  /** Called at every turn of the simulation: the host's thread is alive. */
  readonly onTurn?: () => void
  readonly onConsole?: (domain: string, text: string) => void
  /** Other programs than the usual ones, by name: for tests. */
  readonly programs?: Readonly<Record<string, Program>>
}

export interface StorageRunResult {
  readonly system: System
  readonly outcome: SystemOutcome
  /** Null when the guest's program did not come to its end. */
  readonly guest: GuestResult | null
  readonly driverDomain: DriverDomainCounts | null
}

/** Runs to the end of every domain. Rejects only for mistakes of the program: whatever guests and files do is in the result. */
export async function runStorage(run: StorageRun): Promise<StorageRunResult> {
  const description = storageSystem(run.system)
  let guestResult: GuestResult | null = null
  let counts: DriverDomainCounts | null = null
  let system: System | null = null
  const programs: Record<string, Program> = {
    [Name.dom0]: dom0({ plan: planOf(description) }),
    [Name.driverDomain]: driverDomain({ onEnd: (result) => (counts = result) }),
    [Name.guest]: guest({
      source: 'xvda',
      ...(run.out === null ? {} : { target: 'xvdb' }),
      createHash: run.hash === false ? null : sha256,
      attacks:
        run.attack === false ? null : { targets: () => system!.oracle.targets(), oracle: oracleOf(() => system!) },
      ...(run.onProgress === undefined ? {} : { onProgress: run.onProgress }),
      onResult: (result) => (guestResult = result),
    }),
    ...run.programs,
  }
  const { onTurn } = run
  system = buildSystem(description, {
    programs,
    stores: { [Name.image]: run.image, ...(run.out === null ? {} : { [Name.out]: run.out }) },
    turn: onTurn === undefined ? turn : () => (onTurn(), turn()),
    ...(run.trace === undefined ? {} : { trace: run.trace }),
    ...(run.onConsole === undefined ? {} : { onConsole: run.onConsole }),
  })
  const outcome = await system.run()
  return { system, outcome, guest: guestResult, driverDomain: counts }
}

/** Node's own macrotask: unlike a message, it takes no object and no system call. */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

function sha256() {
  const hash = createHash('sha256')
  return { update: (bytes: Uint8Array) => void hash.update(bytes), digest: () => hash.digest('hex') }
}

/** The host's oracle of a system that is not built yet. */
function oracleOf(system: () => System) {
  return {
    snapshot: (address: number, length: number) => system().oracle.snapshot(address, length),
    restore: (address: number, bytes: Uint8Array) => system().oracle.restore(address, bytes),
    interrupts: (vector: number) => system().oracle.interrupts(vector),
  }
}
