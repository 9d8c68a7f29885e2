/**
 * The scene of every attack: a control domain, a driver domain with the disk, an attacker, and a neighbour who only wants to read its
 * disk and must be able to, before the attack and after it. Everything is real; programs are arguments.
 */
import type { StaleHit } from '@iospace/iommu/hardware'
import { createHash } from 'node:crypto'
import { dom0, type Dom0Hands } from '@iospace/dom0'
import { driverDomain, type DriverDomainCounts } from '@iospace/driver-domain'
import { MemoryBlockStore, type BlockStore } from '@iospace/devices'
import {
  buildSystem,
  messageTurn,
  planOf,
  type DeviceDescription,
  type Program,
  type System,
  type SystemDescription,
  type SystemOutcome,
} from '@iospace/lab'
import type { EndedDomain, IommuLimits } from '@iospace/toolstack'
import { Random, type TaskGroup } from '@iospace/machine'
import { vi } from 'vitest'
import { confines, type Iommu } from './reach.ts'
import { ConfinementWatch } from './confinement.ts'
import { reader } from './reader.ts'

// The machine that runs this may be busy: what is slow is not wrong.
vi.setConfig({ testTimeout: 60_000 })

export const ATTACKER = 'attacker'
export const NEIGHBOUR = 'neighbour'
export const DRIVER = 'driver'
/** Domain ids, in the order of building. */
export const Domid = { dom0: 0, driver: 1, attacker: 2, neighbour: 3 } as const

const KERNEL_WORDS = { xen: 'iommu=xen', swiotlb: 'swiotlb=512,force', nommu: 'iommu=off' } as const

export type Dma = keyof typeof KERNEL_WORDS

export interface Scene {
  readonly dma?: Dma
  readonly iommu?: Iommu
  readonly seed?: number
  readonly attacker: Program
  /** In the place of the driver domain's own program, and of the neighbour's. */
  readonly driver?: Program
  readonly neighbour?: Program
  /** The attacker has a rogue device, and is lent a page by the control domain. */
  readonly rogue?: boolean
  /** Other limits than usual for the attacker. */
  readonly limits?: Partial<IommuLimits>
  /** What everyone reads as xvda. */
  readonly image?: BlockStore
  /** A disk of its own for the attacker to write to, as xvdb. */
  readonly scratch?: BlockStore
  /** The neighbour's second reading waits for the attacker's end; it does unless the attacker is meant to stay. */
  readonly waits?: boolean
  /** Runs in dom0, beside its supervisor. */
  readonly administrator?: (hands: Dom0Hands) => Promise<void>
  /** Runs on the host before anything else does: gets the system and a group for tasks of its own. */
  readonly prepare?: (system: System, host: TaskGroup) => void
  /** Virtual ns that a task may run without waiting. */
  readonly hangLimit?: number
}

export interface Played {
  readonly scene: Scene
  readonly system: System
  readonly outcome: SystemOutcome
  /** `attacker: what it threw`. */
  readonly crashes: readonly string[]
  /** What the neighbour's readings of its disk hash to, and what they should. */
  readonly neighbour: readonly string[]
  readonly expected: string
  readonly ended: readonly EndedDomain[]
  readonly driver: DriverDomainCounts | null
  /** Console lines by domain. */
  readonly console: readonly string[]
  /** Accesses that a cache served although memory no longer granted them. */
  readonly staleHits: readonly StaleHit[]
  readonly confinement: ConfinementWatch
  /** Free and hypervisor frames, and dom0's, when dom0 was made and nothing had run. */
  readonly framesBefore: Frames
}

export interface Frames {
  readonly free: number
  readonly hypervisor: number
  readonly dom0: number
  readonly all: number
}

/** Bytes that differ from page to page. */
export function noise(bytes: number, seed = 1): Uint8Array {
  const random = new Random(seed)
  const words = new Uint32Array(Math.ceil(bytes / 4)).map(() => random.next())
  return new Uint8Array(words.buffer, 0, bytes)
}

export const DISK_BYTES = 200_000

/** Plays a scene to its end. */
export async function play(scene: Scene): Promise<Played> {
  const { dma = 'xen', iommu = 'vtd', image = new MemoryBlockStore(noise(DISK_BYTES)), waits = true } = scene
  const description = describeScene(scene, dma, iommu, image.bytes)
  const watch = new ConfinementWatch()
  const ended: EndedDomain[] = []
  const hashes: string[] = []
  const lines: string[] = []
  let counts: DriverDomainCounts | null = null
  const host: { system: System | null } = { system: null }
  const gone = (): boolean => !waits || host.system!.hypervisor.view(Domid.attacker) === undefined
  const { administrator } = scene
  const programs: Record<string, Program> = {
    dom0: dom0({
      plan: planOf(description),
      onEnded: (domain) => ended.push(domain),
      ...(administrator === undefined ? {} : { administrator }),
    }),
    [DRIVER]: scene.driver ?? driverDomain({ onEnd: (result) => (counts = result) }),
    [ATTACKER]: scene.attacker,
    [NEIGHBOUR]:
      scene.neighbour ??
      reader({
        readings: 2,
        before: async (kernel, reading) => {
          while (reading > 0 && !gone()) await kernel.sleep(500e3)
        },
        onHash: (hash) => hashes.push(hash),
      }),
  }
  const { turn, close } = messageTurn()
  try {
    const system = buildSystem(description, {
      programs,
      stores: { image, scratch: scene.scratch ?? image },
      turn,
      trace: watch,
      onConsole: (domain, text) => lines.push(`${domain}: ${text.trimEnd()}`),
    })
    host.system = system
    watch.watch(system)
    const staleHits: StaleHit[] = []
    if (system.unit !== null) system.unit.onStaleHit = (hit) => staleHits.push({ ...hit })
    const failures: unknown[] = []
    const group = system.machine.scheduler.group('host', (error) => failures.push(error))
    const framesBefore = framesOf(system)
    scene.prepare?.(system, group)
    const outcome = await system.run()
    if (failures.length > 0) throw failures[0]
    return {
      scene,
      system,
      outcome,
      crashes: outcome.crashes.map(
        ({ domain, error }) => `${domain}: ${error instanceof Error ? error.message : String(error)}`,
      ),
      neighbour: hashes,
      expected: hashOf(image),
      ended,
      driver: counts,
      console: lines,
      confinement: watch,
      staleHits,
      framesBefore,
    }
  } finally {
    close()
  }
}

export function framesOf(system: System): Frames {
  const { freeFrames, hypervisorFrames, domains } = system.hypervisor.snapshot()
  return {
    free: freeFrames,
    hypervisor: hypervisorFrames,
    dom0: domains.find(({ domid }) => domid === 0)!.pages,
    all: system.machine.memory.frames,
  }
}

function describeScene(scene: Scene, dma: Dma, iommu: Iommu, bytes: number): SystemDescription {
  const { seed = 1, rogue = false, scratch, hangLimit = 50e6 } = scene
  const devices: DeviceDescription[] = [{ kind: 'nvme', name: 'nvme0', store: 'image' }]
  if (scratch !== undefined) devices.push({ kind: 'nvme', name: 'nvme1', store: 'scratch' })
  const limits = {
    unsafeInterrupts: iommu === 'calgary',
    unsafePassthrough: !confines(iommu),
    ...(iommu === 'calgary' ? { tablePages: 4096 } : {}),
  }
  const disk = { name: 'xvda', backend: DRIVER, params: 'nvme0n1', readOnly: true, bytes }
  const second =
    scratch === undefined
      ? []
      : [{ name: 'xvdb', backend: DRIVER, params: 'nvme1n1', readOnly: false, bytes: scratch.bytes }]
  return {
    seed,
    // A Calgary's tables reach 4 GiB, and are large.
    memory: iommu === 'calgary' ? { lowMiB: 64, highMiB: 0 } : { lowMiB: 20, highMiB: 20 },
    iommu,
    devices: rogue ? [...devices, { kind: 'rogue', name: 'rogue' }] : devices,
    dom0: { program: 'dom0', memoryMiB: 4 },
    domains: [
      {
        name: DRIVER,
        program: DRIVER,
        memoryMiB: 6,
        commandLine: KERNEL_WORDS[dma],
        devices: devices.map(({ name }) => name),
        limits,
        service: true,
      },
      {
        name: ATTACKER,
        program: ATTACKER,
        memoryMiB: 4,
        commandLine: 'iommu=off',
        devices: rogue ? ['rogue'] : [],
        borrows: rogue,
        disks: [disk, ...second],
        limits: { ...limits, ...scene.limits },
      },
      { name: NEIGHBOUR, program: NEIGHBOUR, memoryMiB: 4, disks: [disk] },
    ],
    hangLimit,
    // Far more than any scene needs: one that does not come to its end fails, and says who waits.
    timeLimit: 120e9,
  }
}

function hashOf(store: BlockStore): string {
  const bytes = new Uint8Array(store.bytes)
  store.read(0, bytes, 0, bytes.length)
  return createHash('sha256').update(bytes).digest('hex')
}
