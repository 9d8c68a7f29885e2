/** A reader and a driver domain: what one reading of a disk hashes to, and what it should. */
import { createHash } from 'node:crypto'
import { dom0 } from '@iospace/dom0'
import { driverDomain } from '@iospace/driver-domain'
import { MemoryBlockStore } from '@iospace/devices'
import { buildSystem, messageTurn, planOf, type System, type SystemDescription } from '@iospace/lab'
import type { IommuLimits } from '@iospace/toolstack'
import { noise } from './scene.ts'
import { reader } from './reader.ts'

const BYTES = 300_000

export interface ReadThrough {
  /** For the driver domain's kernel. */
  readonly commandLine: string
  readonly memory?: SystemDescription['memory']
  readonly limits?: Partial<IommuLimits>
}

export interface WasRead {
  readonly system: System
  readonly crashes: readonly unknown[]
  readonly hashes: readonly string[]
  readonly expected: string
}

export async function readThrough({ commandLine, memory, limits = {} }: ReadThrough): Promise<WasRead> {
  const image = noise(BYTES)
  const hashes: string[] = []
  const description: SystemDescription = {
    seed: 3,
    memory: memory ?? { lowMiB: 24, highMiB: 24 },
    iommu: 'vtd',
    devices: [{ kind: 'nvme', name: 'nvme0', store: 'image' }],
    dom0: { program: 'dom0', memoryMiB: 8 },
    domains: [
      { name: 'driver', program: 'driver', memoryMiB: 16, commandLine, devices: ['nvme0'], limits, service: true },
      {
        name: 'reader',
        program: 'reader',
        memoryMiB: 8,
        disks: [{ name: 'xvda', backend: 'driver', params: 'nvme0n1', bytes: BYTES, readOnly: true }],
      },
    ],
  }
  const { turn, close } = messageTurn()
  try {
    const system = buildSystem(description, {
      programs: {
        dom0: dom0({ plan: planOf(description) }),
        driver: driverDomain(),
        reader: reader({ readings: 1, onHash: (hash) => hashes.push(hash) }),
      },
      stores: { image: new MemoryBlockStore(image, { readOnly: true }) },
      turn,
    })
    const { crashes } = await system.run()
    return { system, crashes, hashes, expected: createHash('sha256').update(image).digest('hex') }
  } finally {
    close()
  }
}
