/** RAM beyond 2 GiB: byte offsets of the flat memory no longer fit 31 bits, word indices do. */
import { expect, test } from 'vitest'
import { readThrough } from '../support/read-through.ts'

test.each(['iommu=xen', 'swiotlb=512,force', 'iommu=off'])(
  'a disk is read right on a board of 3.5 GiB, where most frames lie beyond 2 GiB (%s)',
  async (commandLine) => {
    const { crashes, hashes, expected } = await readThrough({
      commandLine,
      memory: { lowMiB: 3000, highMiB: 500 },
      // A mirror of frames that lie everywhere takes a leaf table for nearly each.
      limits: { tablePages: 4096 },
    })
    expect([crashes, hashes]).toEqual([[], [expected]])
  },
)
