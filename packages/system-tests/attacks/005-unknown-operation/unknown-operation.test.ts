import { BLKIF_OP } from '@iospace/abi'
import { MemoryBlockStore } from '@iospace/devices'
import { expect, test } from 'vitest'
import { RawFrontend } from '../../support/raw-frontend.ts'
import { DISK_BYTES, noise, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const EOPNOTSUPP = -2
const ERROR = -1

test('an operation that was not offered is EOPNOTSUPP; a write to a read-only disk is an error (blkif.h)', async () => {
  const image = new MemoryBlockStore(noise(DISK_BYTES))
  const content = image.contents.slice()
  const answers: [number, number, number | undefined][] = []
  const played = await play({
    image,
    attacker: async (kernel) => {
      const raw = await RawFrontend.open(kernel)
      const { ref } = raw.lend()
      for (const operation of [
        BLKIF_OP.WRITE_BARRIER,
        4,
        BLKIF_OP.DISCARD,
        BLKIF_OP.INDIRECT,
        7,
        128,
        255,
        BLKIF_OP.WRITE,
        BLKIF_OP.READ,
      ]) {
        const [response] = await raw.ask({ operation, segments: [{ ref, first: 0, last: 7 }] })
        answers.push([operation, response?.operation ?? -1, response?.status])
      }
    },
  })
  expect(answers).toEqual([
    ...[BLKIF_OP.WRITE_BARRIER, 4, BLKIF_OP.DISCARD, BLKIF_OP.INDIRECT, 7, 128, 255].map((operation) => [
      operation,
      operation,
      EOPNOTSUPP,
    ]),
    [BLKIF_OP.WRITE, BLKIF_OP.WRITE, ERROR],
    [BLKIF_OP.READ, BLKIF_OP.READ, 0],
  ])
  expect(image.contents).toEqual(content)
  await expectUnharmed(played)
})
