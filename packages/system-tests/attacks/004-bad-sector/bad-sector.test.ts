import { BLKIF_OP } from '@iospace/abi'
import { MemoryBlockStore } from '@iospace/devices'
import { expect, test } from 'vitest'
import { RawFrontend, XVDB } from '../../support/raw-frontend.ts'
import { noise, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const SECTORS = 40n

test.each(['READ', 'WRITE'] as const)(
  'a %s of sectors that are not on the disk is an error, however the sum wraps',
  async (operation) => {
    const scratch = new MemoryBlockStore(noise(Number(SECTORS) * 512))
    const content = scratch.contents.slice()
    const statuses: [bigint, number | undefined][] = []
    const played = await play({
      scratch,
      attacker: async (kernel) => {
        const raw = await RawFrontend.open(kernel, { disk: XVDB })
        // What a write would write where it lands is what is there, for the good one's sake.
        const { page, ref } = raw.lend()
        const ask = async (sector: bigint, sectors: number) => {
          page.write(0, content.subarray(Number(SECTORS - 1n) * 512))
          const segments = [{ ref, first: 0, last: sectors - 1 }]
          const [response] = await raw.ask({ operation: BLKIF_OP[operation], sector, segments })
          statuses.push([sector, response?.status])
        }
        await ask(SECTORS - 1n, 1)
        await ask(SECTORS - 1n, 2)
        await ask(SECTORS, 1)
        await ask(SECTORS - 7n, 8)
        await ask(2n ** 32n, 1)
        await ask(2n ** 32n + 1n, 8)
        await ask(2n ** 53n - 1n, 8)
        await ask(2n ** 53n, 1)
        await ask(2n ** 55n, 1)
        await ask(2n ** 63n, 8)
        await ask(2n ** 64n - 8n, 8)
        await ask(2n ** 64n - 1n, 8)
        statuses.push([0n, (await raw.works()) ? 0 : -1])
      },
    })
    expect(statuses[0]).toEqual([SECTORS - 1n, 0])
    expect(statuses.at(-1)).toEqual([0n, 0])
    expect(statuses.slice(1, -1).map(([, status]) => status)).toEqual(Array.from({ length: 11 }, () => -1))
    expect(scratch.contents).toEqual(content)
    await expectUnharmed(played)
  },
)
