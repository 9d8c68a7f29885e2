import { BLKIF_OP } from '@iospace/abi'
import { expect, test } from 'vitest'
import { RawFrontend, type RawRequest } from '../../support/raw-frontend.ts'
import { play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

test('segments that cannot be are an error and nothing else (blkif.h: 1 to 11 segments, sectors 0 to 7, first not behind last)', async () => {
  const statuses: Record<string, number | undefined> = {}
  const changed: number[] = []
  const played = await play({
    attacker: async (kernel) => {
      const raw = await RawFrontend.open(kernel)
      const { page, ref } = raw.lend()
      const bounds = (first: number, last: number): RawRequest => ({ segments: [{ ref, first, last }] })
      const eleven = Array.from({ length: 11 }, () => ({ ref, first: 0, last: 0 }))
      const ask = async (name: string, request: RawRequest) => {
        statuses[name] = (await raw.ask(request))[0]?.status
      }
      await ask('no segment', { segments: [] })
      await ask('a segment, and 0 of them', { ...bounds(0, 0), count: 0 })
      await ask('12 segments', { segments: eleven, count: 12 })
      await ask('255 segments', { segments: eleven, count: 255 })
      await ask('first behind last', bounds(5, 4))
      await ask('last beyond the page', bounds(0, 8))
      await ask('both beyond the page', bounds(8, 8))
      await ask('the largest', bounds(255, 255))
      await ask('0 to 255', bounds(0, 255))
      await ask('bad behind good', { segments: [...eleven.slice(0, 10), { ref, first: 7, last: 6 }] })
      await ask('a flush of segments', { operation: BLKIF_OP.FLUSH_DISKCACHE, ...bounds(0, 0) })
      changed.push(...page.read(0, new Uint8Array(4096)).filter((byte) => byte !== 0))
      await ask('good: 11 segments', { segments: eleven })
      page.fill(0)
      await ask('good: one sector inside the page', bounds(3, 3))
      const bytes = page.read(0, new Uint8Array(4096))
      changed.push(
        ...bytes.subarray(0, 3 * 512).filter((byte) => byte !== 0),
        ...bytes.subarray(4 * 512).filter((byte) => byte !== 0),
      )
      statuses['good: it arrived'] = bytes.subarray(3 * 512, 4 * 512).some((byte) => byte !== 0) ? 0 : -1
    },
  })
  expect(statuses).toEqual(
    Object.fromEntries(Object.keys(statuses).map((name) => [name, name.startsWith('good') ? 0 : -1])),
  )
  expect(Object.keys(statuses)).toHaveLength(14)
  expect(changed).toEqual([])
  await expectUnharmed(played)
})
