import { BLKIF_OP } from '@iospace/abi'
import { BlockOp, BlockRequest, blkfront, submit, type Kernel, type KernelBuffer } from '@iospace/linux'
import { describe, expect, test } from 'vitest'
import { lyingDriver, type BackRequest, type Lies, type RawBackend } from '../../support/raw-backend.ts'
import { hashDisk } from '../../support/reader.ts'
import { Domid, play, type Played } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const VICTIMS = [Domid.attacker, Domid.neighbour]

interface Victim {
  /** SHA-256 or error of a reading. */
  result: string
  /** What the kernel had before, and has after its disk is gone. */
  grants: readonly [number, number]
  pages: readonly [number, number]
}

/** Plays a scene in which the driver domain lies. The guest in the attacker's place is a victim like the neighbour, and is looked at. */
async function lie(lies: Lies): Promise<{ played: Played; victim: Victim }> {
  const victim: Victim = { result: 'nothing', grants: [0, 0], pages: [0, 0] }
  const played = await play({
    driver: lyingDriver(lies, VICTIMS),
    attacker: async (kernel) => {
      const before = [kernel.grants.freeEntries, kernel.memory.pages.freePages] as const
      await kernel.xenbus.register(blkfront)
      const disk = await kernel.block.wait(kernel, 'xvda')
      victim.result = await hashDisk(kernel, disk)
      kernel.onShutdown(() => undefined)
      await kernel.shutdown()
      victim.grants = [before[0], kernel.grants.freeEntries]
      victim.pages = [before[1], kernel.memory.pages.freePages]
    },
  })
  return { played, victim }
}

const ok = (back: RawBackend, { id, operation }: BackRequest): void => back.answer(id, operation, 0)

describe('a back-end that breaks the rules of the ring is found out: I/O errors, and a kernel that stays sound', () => {
  const FOUND: readonly [string, (back: RawBackend, request: BackRequest) => void][] = [
    ['an answer to a request that was never asked', (back, { operation }) => back.answer(31n, operation, 0)],
    ['an answer with an id beyond the ring', (back, { operation }) => back.answer(32n, operation, 0)],
    ['an answer with an id of 64 bits', (back, { id, operation }) => back.answer(id + 2n ** 32n, operation, 0)],
    ['the largest id', (back, { operation }) => back.answer(2n ** 64n - 1n, operation, 0)],
    [
      'two answers to one request',
      (back, request) => {
        ok(back, request)
        ok(back, request)
      },
    ],
    ['an index far ahead', (back) => back.publish(1000)],
    ['an index half way round', (back) => back.publish(0x8000_0000)],
    ['an index behind', (back) => back.publish(0xffff_ffff)],
    ['no such status', (back, { id, operation }) => back.answer(id, operation, 77)],
    ['the lowest status', (back, { id, operation }) => back.answer(id, operation, -32768)],
    ['an answer to another operation', (back, { id }) => back.answer(id, BLKIF_OP.DISCARD, -1)],
  ]
  test.each(FOUND)('%s', async (_name, onRequest) => {
    const { played, victim } = await lie({ onRequest })
    expect(victim.result).toBe('error -5')
    expect(played.neighbour).toEqual(['error -5', 'error -5'])
    expect(victim.grants[1]).toBe(victim.grants[0])
    expect(victim.pages[1]).toBe(victim.pages[0])
    await expectUnharmed(played, { readings: 'any' })
  })

  test('wrong bytes under a right status cannot be seen by blkfront: the hash sees them', async () => {
    const { played, victim } = await lie({ onRequest: ok })
    expect(victim.result).toMatch(/^[0-9a-f]{64}$/)
    expect(victim.result).not.toBe(played.expected)
    await expectUnharmed(played, { readings: 'any' })
  })
})

describe('what a back-end says of its disk is not believed', () => {
  test.each([
    ['a negative size', { sectors: -5 }],
    ['no number', { sectors: 'many' }],
    ['a size beyond 2^53 bytes', { sectors: '999999999999999' }],
    ['more bytes than sectors', { 'size-bytes': '99999999' }],
    ['a sector of 3 bytes', { 'physical-sector-size': 3 }],
    [
      'nonsense everywhere',
      { sectors: '', info: 'x', 'physical-sector-size': '-', 'size-bytes': '1e9', 'feature-flush-cache': 'yes' },
    ],
  ])('%s', async (_name, nodes) => {
    const bytes: number[] = []
    const program = async (kernel: Kernel): Promise<void> => {
      await kernel.xenbus.register(blkfront)
      await kernel.sleep(3e6)
      const disk = kernel.block.get('xvda')
      if (disk !== undefined) bytes.push(disk.bytes, disk.sectors)
      if (disk !== undefined && disk.sectors <= 400) await hashDisk(kernel, disk)
    }
    const played = await play({
      driver: lyingDriver({ onRequest: ok, nodes }, [Domid.attacker]),
      attacker: program,
      neighbour: program,
    })
    for (const value of bytes) expect([value >= 0, Number.isSafeInteger(value)]).toEqual([true, true])
    await expectUnharmed(played, { readings: 'any' })
  })
})

describe('a page that a back-end still has is used for nothing else (XSA-396)', () => {
  test.each([
    [
      'it answers the request, and keeps its page mapped',
      (back: RawBackend, request: BackRequest) => ok(back, request),
    ],
    ['it breaks the ring, and keeps a page mapped', (back: RawBackend) => back.publish(1000)],
  ])('%s', async (_name, then) => {
    let kept: KernelBuffer | null = null
    const seen = { status: 0, spied: 'nothing' }
    const played = await play({
      driver: lyingDriver(
        {
          onRequest: (back, request) => {
            kept ??= back.keep(request, 0)
            then(back, request)
          },
        },
        [Domid.attacker],
      ),
      neighbour: async (kernel) => kernel.sleep(1e6),
      attacker: async (kernel) => {
        await kernel.xenbus.register(blkfront)
        const disk = await kernel.block.wait(kernel, 'xvda')
        const buffer = kernel.memory.allocate(4096)!
        const request = new BlockRequest(1, () => undefined)
        request.op = BlockOp.read
        request.list.addBuffer(buffer)
        seen.status = await submit(kernel, disk, request)
        kernel.memory.free(buffer)
        // Everything that this kernel can still allocate now holds a secret.
        const secret = new TextEncoder().encode('secret')
        for (let page = kernel.memory.allocate(4096); page !== null; page = kernel.memory.allocate(4096))
          page.write(0, secret)
        await kernel.sleep(1e6)
        seen.spied = new TextDecoder().decode(kept!.read(0, new Uint8Array(6)))
      },
    })
    expect(seen).toEqual({ status: -5, spied: '\0\0\0\0\0\0' })
    await expectUnharmed(played, { readings: 'any' })
  })
})

describe('a back-end that does nothing at all', () => {
  test('it never answers: the guest waits, and is taken apart when nothing else can happen', async () => {
    const wait = async (kernel: Kernel): Promise<void> => {
      await kernel.xenbus.register(blkfront)
      await hashDisk(kernel, await kernel.block.wait(kernel, 'xvda'))
    }
    const played = await play({
      driver: lyingDriver({ onRequest: () => undefined }, [Domid.attacker]),
      attacker: wait,
      neighbour: async (kernel) => kernel.sleep(1e6),
    })
    await expectUnharmed(played, { readings: 'any', crashes: [/^attacker: waits for ever/] })
  })

  test('it never closes: the guest waits, and is taken apart when nothing else can happen', async () => {
    const played = await play({
      driver: lyingDriver({ onRequest: ok, staysOpen: true }, [Domid.attacker]),
      attacker: async (kernel) => {
        await kernel.xenbus.register(blkfront)
        await kernel.block.wait(kernel, 'xvda')
      },
      neighbour: async (kernel) => kernel.sleep(1e6),
    })
    await expectUnharmed(played, { readings: 'any', crashes: [/^attacker: waits for ever/] })
  })
})
