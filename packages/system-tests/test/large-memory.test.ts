/** RAM beyond 2 GiB: byte offsets of the flat memory no longer fit 31 bits, word indices do. */
import { MemoryBlockStore } from '@iospace/devices'
import { buildSystem, messageTurn, planOf, type SystemDescription } from '@iospace/lab'
import { dom0 } from '@iospace/dom0'
import { driverDomain } from '@iospace/driver-domain'
import { expect, test } from 'vitest'
import { noise } from '../support/scene.ts'
import { reader } from '../support/reader.ts'
import { createHash } from 'node:crypto'

const BYTES = 300_000

test.each(['iommu=xen', 'swiotlb=512,force', 'iommu=off'])(
  'a disk is read right on a board of 3.5 GiB, where most frames lie beyond 2 GiB (%s)',
  async (commandLine) => {
    const image = noise(BYTES)
    const hashes: string[] = []
    const description: SystemDescription = {
      seed: 3,
      memory: { lowMiB: 3000, highMiB: 500 },
      iommu: 'vtd',
      devices: [{ kind: 'nvme', name: 'nvme0', store: 'image' }],
      dom0: { program: 'dom0', memoryMiB: 8 },
      domains: [
        {
          name: 'driver',
          program: 'driver',
          memoryMiB: 16,
          commandLine,
          devices: ['nvme0'],
          // A mirror of frames that lie everywhere takes a leaf table for nearly each.
          limits: { unsafeInterrupts: true, tablePages: 4096 },
          service: true,
        },
        {
          name: 'reader',
          program: 'reader',
          memoryMiB: 8,
          disks: [{ name: 'xvda', backend: 'driver', params: 'nvme0n1', bytes: BYTES, readOnly: true }],
        },
      ],
    }
    const { turn, close } = messageTurn()
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
    close()
    expect(crashes).toEqual([])
    expect(hashes).toEqual([createHash('sha256').update(image).digest('hex')])
  },
)
