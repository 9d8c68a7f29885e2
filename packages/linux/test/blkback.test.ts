/** The block back-end against a front-end that writes its ring byte by byte: xen/include/public/io/blkif.h, ring.h, and attack class "ring". */
import {
  BLKIF_OP,
  BLKIF_PROTOCOLS,
  blkif_request,
  blkif_request_segment,
  blkif_x86_32_request,
  type BlkifProtocol,
  ring_header,
  ringOffset,
} from '@iospace/abi'
import { describe, expect, test } from 'vitest'
import { BlkbackStats, BlockStatus, bootKernel, type Kernel, type KernelBuffer } from '../src/index.ts'
import { BlkbackConnection } from '../src/xen/blkback/connection.ts'
import { BLKIF_LAYOUTS } from '../src/xen/io/blkif-protocol.ts'
import { MemoryDisk } from './support/memory-disk.ts'
import { ToyHypervisor } from './support/toy-hypervisor.ts'

const FRONT = 0
const BACK = 1
type Segment = readonly [gref: number, first: number, last: number]

interface Response {
  readonly id: bigint
  readonly operation: number
  readonly status: number
}

class Rig {
  readonly xen = new ToyHypervisor()
  readonly front: Kernel
  readonly back: Kernel
  readonly disk: MemoryDisk
  readonly stats = new BlkbackStats()
  readonly violations: string[] = []
  readonly page: KernelBuffer
  readonly data: KernelBuffer
  readonly refs: number[]
  readonly ringRef: number
  readonly port: number
  readonly protocol: BlkifProtocol
  readonly connection: BlkbackConnection
  events = 0
  #produced = 0
  #consumed = 0

  constructor(
    protocol: BlkifProtocol = 'x86_64-abi',
    options: { readonly readonly?: boolean; readonly dataReadonly?: boolean } = {},
  ) {
    this.front = bootKernel(this.xen.create('front', 512).platform)
    this.back = bootKernel(this.xen.create('back', 1024).platform)
    this.disk = new MemoryDisk(
      this.back,
      Uint8Array.from({ length: 100 * 512 }, (_, i) => (i * 7) & 0xff),
    )
    this.page = this.front.memory.allocate(4096)!
    this.page.write32(ring_header.offsets.req_event, 1)
    this.page.write32(ring_header.offsets.rsp_event, 1)
    this.data = this.front.memory.allocate(16 * 4096)!
    this.ringRef = this.front.grants.grantAccess(BACK, this.page.pfn, false)
    this.refs = Array.from({ length: 16 }, (_, i) =>
      this.front.grants.grantAccess(BACK, this.data.pfn + i, options.dataReadonly ?? false),
    )
    this.port = this.front.events.allocUnbound(BACK)
    this.protocol = protocol
    this.front.events.handle(this.port, () => this.events++)
    const connection = BlkbackConnection.open({
      kernel: this.back,
      disk: this.disk,
      layout: BLKIF_LAYOUTS[protocol],
      frontend: FRONT,
      ringRef: this.ringRef,
      remotePort: this.port,
      readonly: options.readonly ?? false,
      stats: this.stats,
      onViolation: (text) => this.violations.push(text),
    })
    if (typeof connection === 'string') throw new Error(connection)
    this.connection = connection
  }

  /** Writes a request into the next slot. */
  put(operation: number, id: bigint, sector: bigint, segments: readonly Segment[], count = segments.length): number {
    const { request } = BLKIF_PROTOCOLS[this.protocol]
    const zero = blkif_request_segment.zero()
    const seg = Array.from({ length: 11 }, (_, i) => {
      const [gref, first_sect, last_sect] = segments[i] ?? [0, 0, 0]
      return { ...zero, gref, first_sect, last_sect }
    })
    const value = { operation, nr_segments: count, handle: 0, id, sector_number: sector, seg }
    const at = ringOffset(this.#produced, 32, request.size)
    this.page.write(at, request === blkif_request ? blkif_request.encode(value) : blkif_x86_32_request.encode(value))
    this.#produced++
    return at
  }

  async send(index = this.#produced): Promise<void> {
    this.page.write32(ring_header.offsets.req_prod, index >>> 0)
    this.front.events.send(this.port)
    await this.xen.run()
  }

  /** Responses since the last time. */
  take(): Response[] {
    const { response, request } = BLKIF_PROTOCOLS[this.protocol]
    const end = this.page.read32(ring_header.offsets.rsp_prod)
    const result: Response[] = []
    for (; this.#consumed < end; this.#consumed++) {
      const at = ringOffset(this.#consumed, 32, request.size)
      const { id, operation, status } = response.decode(this.page.read(at, new Uint8Array(response.size)))
      result.push({ id, operation, status })
    }
    return result
  }

  async close(): Promise<void> {
    this.back.spawn('close', () => this.connection.close())
    await this.xen.run()
  }
}

const OK = 0
const ERROR = -1
const EOPNOTSUPP = -2

describe.each(['x86_64-abi', 'x86_32-abi'] as const)('%s', (protocol) => {
  test('reads and writes sectors of granted pages, and answers with the id that came', async () => {
    const rig = new Rig(protocol)
    const { refs, disk, data } = rig
    rig.put(BLKIF_OP.READ, 0x1122_3344_5566_7788n, 3n, [
      [refs[0]!, 0, 7],
      [refs[1]!, 2, 3],
    ])
    await rig.send()
    expect(rig.take()).toEqual([{ id: 0x1122_3344_5566_7788n, operation: BLKIF_OP.READ, status: OK }])
    expect(data.read(0, new Uint8Array(4096))).toEqual(disk.contents.slice(3 * 512, 11 * 512))
    expect(data.read(4096 + 2 * 512, new Uint8Array(1024))).toEqual(disk.contents.slice(11 * 512, 13 * 512))
    expect(data.read8(4096)).toBe(0)
    data.fill(0x5a, 0, 4096)
    rig.put(BLKIF_OP.WRITE, 2n, 50n, [[refs[0]!, 0, 7]])
    await rig.send()
    expect(rig.take()).toEqual([{ id: 2n, operation: BLKIF_OP.WRITE, status: OK }])
    expect(disk.contents.slice(50 * 512, 58 * 512).every((byte) => byte === 0x5a)).toBe(true)
    expect(rig.stats).toMatchObject({ reads: 1, writes: 1, readBytes: 5120, writtenBytes: 4096, errors: 0 })
  })

  test('all 32 slots are served at once, with one event for the burst, and nothing stays mapped', async () => {
    const rig = new Rig(protocol)
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 32; i++) rig.put(BLKIF_OP.READ, BigInt(i), BigInt(i), [[rig.refs[i % 16]!, 0, 0]])
      rig.events = 0
      rig.page.write32(ring_header.offsets.rsp_event, round * 32 + 1)
      await rig.send()
      expect(rig.take().map(({ id, status }) => [Number(id), status])).toEqual(
        Array.from({ length: 32 }, (_, i) => [i, OK]),
      )
      expect(rig.events).toBe(1)
    }
    // The ring's own page is all that is mapped.
    expect(rig.xen.domains[BACK]!.maps.size).toBe(1)
    await rig.close()
    expect(rig.xen.domains[BACK]!.maps.size).toBe(0)
    for (const ref of [rig.ringRef, ...rig.refs]) expect(rig.front.grants.endAccess(ref)).toBe(true)
  })
})

describe('what is wrong with a request is answered with an error, and the next one is served', () => {
  const bad: readonly [name: string, (rig: Rig) => void, status: number][] = [
    ['no segments', (rig) => rig.put(BLKIF_OP.READ, 1n, 0n, []), ERROR],
    ['12 segments', (rig) => rig.put(BLKIF_OP.READ, 1n, 0n, [[rig.refs[0]!, 0, 7]], 12), ERROR],
    ['255 segments', (rig) => rig.put(BLKIF_OP.WRITE, 1n, 0n, [[rig.refs[0]!, 0, 7]], 255), ERROR],
    ['first sector behind the last', (rig) => rig.put(BLKIF_OP.READ, 1n, 0n, [[rig.refs[0]!, 5, 4]]), ERROR],
    ['a sector beyond the page', (rig) => rig.put(BLKIF_OP.READ, 1n, 0n, [[rig.refs[0]!, 0, 8]]), ERROR],
    ['sectors 255 to 255', (rig) => rig.put(BLKIF_OP.READ, 1n, 0n, [[rig.refs[0]!, 255, 255]]), ERROR],
    ['a reference that was not granted', (rig) => rig.put(BLKIF_OP.READ, 1n, 0n, [[400, 0, 7]]), ERROR],
    ['a reference beyond the table', (rig) => rig.put(BLKIF_OP.READ, 1n, 0n, [[0xffff_ffff, 0, 7]]), ERROR],
    [
      'one bad reference among good ones',
      (rig) =>
        rig.put(BLKIF_OP.READ, 1n, 0n, [
          [rig.refs[0]!, 0, 7],
          [400, 0, 7],
          [rig.refs[1]!, 0, 7],
        ]),
      ERROR,
    ],
    ['an end beyond the disk', (rig) => rig.put(BLKIF_OP.READ, 1n, 93n, [[rig.refs[0]!, 0, 7]]), ERROR],
    [
      'a sector that wraps',
      (rig) => rig.put(BLKIF_OP.WRITE, 1n, 0xffff_ffff_ffff_ffffn, [[rig.refs[0]!, 0, 7]]),
      ERROR,
    ],
    ['a flush with data', (rig) => rig.put(BLKIF_OP.FLUSH_DISKCACHE, 1n, 0n, [[rig.refs[0]!, 0, 7]]), ERROR],
    ['a discard', (rig) => rig.put(BLKIF_OP.DISCARD, 1n, 0n, []), EOPNOTSUPP],
    ['a barrier', (rig) => rig.put(BLKIF_OP.WRITE_BARRIER, 1n, 0n, []), EOPNOTSUPP],
    ['an indirect request', (rig) => rig.put(BLKIF_OP.INDIRECT, 1n, 0n, []), EOPNOTSUPP],
    ['operation 255', (rig) => rig.put(255, 1n, 0n, []), EOPNOTSUPP],
  ]
  test.each(bad)('%s', async (_name, put, status) => {
    const rig = new Rig()
    const before = rig.disk.contents.slice()
    put(rig)
    rig.put(BLKIF_OP.READ, 2n, 0n, [[rig.refs[2]!, 0, 0]])
    await rig.send()
    expect(rig.take().map((response) => [response.id, response.status])).toEqual([
      [1n, status],
      [2n, OK],
    ])
    expect(rig.disk.contents).toEqual(before)
    expect(rig.violations).toEqual([])
    expect(rig.xen.domains[BACK]!.maps.size).toBe(1)
  })

  test('a page granted for reading is not written to', async () => {
    const rig = new Rig('x86_64-abi', { dataReadonly: true })
    rig.put(BLKIF_OP.READ, 1n, 0n, [[rig.refs[0]!, 0, 0]])
    rig.put(BLKIF_OP.WRITE, 2n, 0n, [[rig.refs[0]!, 0, 0]])
    await rig.send()
    expect(rig.take().map(({ status }) => status)).toEqual([ERROR, OK])
  })

  test('a read-only disk is not written to', async () => {
    const rig = new Rig('x86_64-abi', { readonly: true })
    rig.put(BLKIF_OP.WRITE, 1n, 0n, [[rig.refs[0]!, 0, 0]])
    await rig.send()
    expect(rig.take().map(({ status }) => status)).toEqual([ERROR])
    expect(rig.disk.log).toEqual([])
  })

  test('an error of the disk is an error of its request alone', async () => {
    const rig = new Rig()
    rig.disk.nextStatus = BlockStatus.ioError
    rig.put(BLKIF_OP.READ, 1n, 0n, [[rig.refs[0]!, 0, 0]])
    await rig.send()
    rig.disk.nextStatus = BlockStatus.ok
    rig.put(BLKIF_OP.READ, 2n, 0n, [[rig.refs[0]!, 0, 0]])
    await rig.send()
    expect(rig.take().map(({ status }) => status)).toEqual([ERROR, OK])
  })
})

test('a request changed after it was read changes nothing (double fetch, XSA-155 class)', async () => {
  const rig = new Rig()
  rig.disk.held = true
  const at = rig.put(BLKIF_OP.READ, 1n, 0n, [[rig.refs[0]!, 0, 0]])
  await rig.send()
  rig.page.write(at, new Uint8Array(112).fill(0xff))
  rig.disk.release()
  await rig.xen.run()
  expect(rig.take()).toEqual([{ id: 1n, operation: BLKIF_OP.READ, status: OK }])
  expect(rig.data.read(0, new Uint8Array(512))).toEqual(rig.disk.contents.slice(0, 512))
})

test.each([33, 1000, 0x8000_0000, 0xffff_ffff])(
  'a request index that jumps by %i ends this connection: nothing more is read, nothing stays mapped',
  async (index) => {
    const rig = new Rig()
    rig.disk.held = true
    rig.put(BLKIF_OP.READ, 1n, 0n, [[rig.refs[0]!, 0, 0]])
    await rig.send()
    await rig.send(index)
    expect(rig.violations).toHaveLength(1)
    expect(rig.stats.violations).toBe(1)
    rig.put(BLKIF_OP.READ, 2n, 0n, [[rig.refs[0]!, 0, 0]])
    await rig.send(2)
    rig.disk.held = false
    rig.disk.release()
    expect(rig.disk.log).toEqual(['read 0+1'])
    await rig.close()
    expect(rig.xen.domains[BACK]!.maps.size).toBe(0)
  },
)

test('a flush is carried out after the writes before it, however the disk orders them, and not before', async () => {
  const rig = new Rig()
  rig.disk.held = true
  rig.disk.reversed = true
  rig.put(BLKIF_OP.WRITE, 1n, 1n, [[rig.refs[0]!, 0, 0]])
  rig.put(BLKIF_OP.WRITE, 2n, 2n, [[rig.refs[1]!, 0, 0]])
  rig.put(BLKIF_OP.FLUSH_DISKCACHE, 3n, 0n, [])
  rig.put(BLKIF_OP.WRITE, 4n, 4n, [[rig.refs[2]!, 0, 0]])
  await rig.send()
  rig.disk.held = false
  rig.disk.release()
  await rig.xen.run()
  const at = (entry: string): number => rig.disk.log.indexOf(entry)
  expect(at('flush')).toBeGreaterThan(at('write 1+1'))
  expect(at('flush')).toBeGreaterThan(at('write 2+1'))
  expect(new Set(rig.take().map(({ id }) => id))).toEqual(new Set([1n, 2n, 3n, 4n]))
})

test('closing waits for what is under way, and then holds neither ring nor pages', async () => {
  const rig = new Rig()
  rig.disk.held = true
  rig.put(BLKIF_OP.READ, 1n, 0n, [[rig.refs[0]!, 0, 0]])
  await rig.send()
  let closed = false
  rig.back.spawn('close', async () => {
    await rig.connection.close()
    closed = true
  })
  expect((await rig.xen.machine.scheduler.run()).kind).toBe('stuck')
  expect(closed).toBe(false)
  rig.disk.release()
  await rig.xen.run()
  expect(closed).toBe(true)
  expect(rig.xen.domains[BACK]!.maps.size).toBe(0)
})

test('a ring reference or port that is not for this domain is refused with a sentence, and nothing is kept', () => {
  const rig = new Rig()
  const slots = rig.back.memory.slots.freeSlots
  const pages = rig.back.memory.pages.freePages
  const open = (ringRef: number, remotePort: number): string | BlkbackConnection =>
    BlkbackConnection.open({
      kernel: rig.back,
      disk: rig.disk,
      layout: BLKIF_LAYOUTS['x86_64-abi'],
      frontend: FRONT,
      ringRef,
      remotePort,
      readonly: false,
      stats: rig.stats,
      onViolation: () => {},
    })
  expect(open(499, rig.port)).toBe('mapping ring-ref 499 of domain 0 failed with status -1')
  expect(open(rig.refs[0]!, 77)).toMatch(/^binding event-channel 77 of domain 0 failed/)
  expect(rig.back.memory.slots.freeSlots).toBe(slots)
  expect(rig.back.memory.pages.freePages).toBe(pages)
})
