/** Disks that go wrong under two guests at once: each request that failed is an error in the guest that asked, and nothing more. */
import { MemoryBlockStore, StoreStatus, type BlockStore } from '@iospace/devices'
import { BlockOp, BlockRequest, blkfront, submit, type Kernel } from '@iospace/linux'
import { describe, expect, test } from 'vitest'
import { hashDisk } from '../../support/reader.ts'
import { DISK_BYTES, noise, play, type Dma } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

/** May change what a read, write or flush does, and says how it ended. */
type Trick = (store: TrickyStore, what: 'read' | 'write' | 'flush', target: Uint8Array | null, at: number) => number

/** A disk of noise with a trick. */
class TrickyStore implements BlockStore {
  readonly bytes: number
  readonly readOnly: boolean
  readonly good: MemoryBlockStore
  reads = 0
  readonly #trick: Trick

  constructor(bytes: number, trick: Trick, readOnly = false) {
    this.good = new MemoryBlockStore(noise(bytes), { readOnly })
    this.bytes = bytes
    this.readOnly = readOnly
    this.#trick = trick
  }

  read(offset: number, target: Uint8Array, at: number, length: number): number {
    const status = this.good.read(offset, target, at, length)
    this.reads++
    return status === StoreStatus.ok ? this.#trick(this, 'read', target, at) : status
  }
  write(offset: number, source: Uint8Array, at: number, length: number): number {
    const status = this.#trick(this, 'write', null, at)
    return status === StoreStatus.ok ? this.good.write(offset, source, at, length) : status
  }
  flush(): number {
    return this.#trick(this, 'flush', null, 0)
  }
}

const { ok, io, full } = StoreStatus
const IO_ERROR = 'error -5'

/** Reads its disk `times` times; what came of each. */
const readings =
  (times: number, results: string[]) =>
  async (kernel: Kernel): Promise<void> => {
    await kernel.xenbus.register(blkfront)
    const disk = await kernel.block.wait(kernel, 'xvda')
    for (let i = 0; i < times; i++) results.push(await hashDisk(kernel, disk))
  }

const DMAS: readonly Dma[] = ['xen', 'swiotlb']

describe.each(DMAS)('--dma %s', (dma) => {
  test('a bit that flips on its way is found by the hash of whoever read it, and by nobody else’s', async () => {
    const results: string[] = []
    const image = new TrickyStore(DISK_BYTES, (store, what, target, at) => {
      if (what === 'read' && store.reads === 3) target![at + 100]! ^= 0x10
      return ok
    })
    const played = await play({ dma, image, attacker: readings(2, results), waits: false })
    const good = await expected()
    const all = [...results, ...played.neighbour]
    expect(all.filter((each) => each === good)).toHaveLength(3)
    expect(all.filter((each) => /^[0-9a-f]{64}$/.test(each))).toHaveLength(4)
    await expectUnharmed(played, { readings: 'any' })
  })

  test('a read that fails is an error for that reading; the next one succeeds', async () => {
    const results: string[] = []
    const image = new TrickyStore(DISK_BYTES, (store) => (store.reads === 3 ? io : ok))
    const played = await play({ dma, image, attacker: readings(3, results), waits: false })
    expect([...results, ...played.neighbour].filter((each) => each === IO_ERROR)).toHaveLength(1)
    expect(results.at(-1)).toBe(await expected())
    await expectUnharmed(played, { readings: 'any' })
  })

  test('an image that shrinks under its readers is an I/O error to them both, from then on', async () => {
    const results: string[] = []
    const image = new TrickyStore(DISK_BYTES, (store) => {
      if (store.reads === 4) store.good.contents = store.good.contents.subarray(0, 4096)
      return ok
    })
    const played = await play({ dma, image, attacker: readings(2, results), waits: false })
    expect([results.at(-1), played.neighbour.at(-1)]).toEqual([IO_ERROR, IO_ERROR])
    await expectUnharmed(played, { readings: 'any' })
  })
})

/** Writes a page to xvdb and flushes; the two statuses. */
const writer =
  (statuses: number[]) =>
  async (kernel: Kernel): Promise<void> => {
    await kernel.xenbus.register(blkfront)
    const disk = await kernel.block.wait(kernel, 'xvdb')
    const buffer = kernel.memory.allocate(4096)!
    buffer.fill(0x77)
    for (const op of [BlockOp.write, BlockOp.flush]) {
      const request = new BlockRequest(1, () => undefined)
      request.op = op
      if (op === BlockOp.write) request.list.addBuffer(buffer)
      statuses.push(await submit(kernel, disk, request))
    }
  }

test.each([
  ['is full', (_store: TrickyStore, what: string) => (what === 'write' ? full : ok), false, [-5, 0]],
  ['fails to write', (_store: TrickyStore, what: string) => (what === 'write' ? io : ok), false, [-5, 0]],
  ['cannot make its data last', (_store: TrickyStore, what: string) => (what === 'flush' ? io : ok), false, [0, -5]],
  ['is read-only, though dom0 said that it is not', () => ok, true, [-5, 0]],
  ['is well', () => ok, false, [0, 0]],
] as const)('a second disk that %s', async (_name, trick, readOnly, expected) => {
  const statuses: number[] = []
  const scratch = new TrickyStore(64 * 512, trick, readOnly)
  const before = scratch.good.contents.slice()
  const played = await play({ scratch, attacker: writer(statuses) })
  expect(statuses).toEqual(expected)
  const written = expected[0] === 0
  expect(scratch.good.contents.subarray(0, 4096).every((byte, i) => byte === (written ? 0x77 : before[i]))).toBe(true)
  expect(scratch.good.contents.subarray(4096)).toEqual(before.subarray(4096))
  await expectUnharmed(played)
})

async function expected(): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', noise(DISK_BYTES) as Uint8Array<ArrayBuffer>)
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
