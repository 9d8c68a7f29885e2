/** Front- and back-end together over xenstore, and the front-end against a back-end that breaks the rules. */
import { BLKIF_OP, blkif_request, blkif_response, ring_header, ringOffset, XENBUS_STATE } from '@iospace/abi'
import { describe, expect, test } from 'vitest'
import {
  Blkback,
  blkfront,
  type BlockDevice,
  BlockOp,
  BlockRequest,
  BlockStatus,
  bootKernel,
  diskName,
  type Kernel,
  streamBlocks,
  submit,
  XenDisk,
} from '../src/index.ts'
import { MemoryDisk } from './support/memory-disk.ts'
import { ToyHypervisor } from './support/toy-hypervisor.ts'
import { attachXenstore, ToyXenstore } from './support/toy-xenstore.ts'

const BACK = '/local/domain/1/backend/vbd/2/51712'
const FRONT = '/local/domain/2/device/vbd/51712'

interface Rig {
  readonly xen: ToyHypervisor
  readonly store: ToyXenstore
  readonly back: Kernel
  readonly front: Kernel
  readonly disk: MemoryDisk
  readonly blkback: Blkback
}

function rig(bytes = 300_000): Rig {
  const xen = new ToyHypervisor()
  const store = new ToyXenstore()
  const server = xen.create('dom0', 256)
  const domains = ['back', 'front'].map((name) => xen.create(name, 2048, '', { pfn: 2, port: 1 }))
  const ports = domains.map((domain) => xen.connect(server, domain)[0])
  const dom0 = bootKernel(server.platform)
  const [back, front] = domains.map((domain, i) => {
    const kernel = bootKernel(domain.platform)
    attachXenstore(store, dom0, i + 1, kernel.memory.window(2), ports[i]!)
    return kernel
  }) as [Kernel, Kernel]
  const disk = new MemoryDisk(
    back,
    Uint8Array.from({ length: Math.ceil(bytes / 512) * 512 }, (_, i) => (i * 11 + (i >> 9)) & 0xff),
  )
  back.block.add(disk)
  for (const [name, value] of Object.entries({
    frontend: FRONT,
    'frontend-id': '2',
    state: '1',
    params: 'disk',
    mode: 'w',
    'size-bytes': String(bytes),
  })) {
    store.nodes.set(`${BACK}/${name}`, value)
  }
  for (const [name, value] of Object.entries({ backend: BACK, 'backend-id': '1', state: '1' }))
    store.nodes.set(`${FRONT}/${name}`, value)
  return { xen, store, back, front, disk, blkback: new Blkback() }
}

/** Runs `body` with the disk, then shuts the front-end down, then the back-end. */
async function withDisk(r: Rig, body: (disk: BlockDevice) => Promise<void>): Promise<void> {
  const { back, front, blkback, xen } = r
  back.spawn('main', async () => {
    await back.xenbus.register(blkback)
    while (back.xenbus.devices().length === 0) await back.sleep(1000)
    await back.sleep(1e9)
  })
  front.spawn('main', async () => {
    await front.xenbus.register(blkfront)
    await body(await front.block.wait(front, 'xvda'))
    await front.shutdown()
  })
  await xen.run()
  back.spawn('stop', () => back.shutdown())
  await xen.run()
}

describe('a disk through xenstore, ring, grants and events', () => {
  test('has the size that the back-end says, is read and written whole, and gives everything back (no grant, map, port or page is left)', async () => {
    const r = rig(299_900)
    const { front, back, disk, xen } = r
    const free = [
      front.memory.pages.freePages,
      back.memory.pages.freePages,
      front.grants.freeEntries,
      back.memory.slots.freeSlots,
    ]
    const pieces: Uint8Array[] = []
    await withDisk(r, async (xvda) => {
      expect(xvda.bytes).toBe(299_900)
      expect(xvda.sectors).toBe(586)
      const result = await streamBlocks(front, xvda, {
        each: (buffer, length) => pieces.push(buffer.read(0, new Uint8Array(length))),
      })
      expect(result).toEqual({ status: 0, failed: null, bytes: 299_900, written: 0, requests: 7 })
      const buffer = front.memory.allocate(4096)!
      buffer.fill(0x77)
      const request = new BlockRequest(1, () => {})
      request.op = BlockOp.write
      request.sector = 100
      request.list.addBuffer(buffer)
      expect(await submit(front, xvda, request)).toBe(BlockStatus.ok)
      const flush = new BlockRequest(1, () => {})
      flush.op = BlockOp.flush
      expect(await submit(front, xvda, flush)).toBe(BlockStatus.ok)
      front.memory.free(buffer)
    })
    const all = pieces.flatMap((piece) => [...piece])
    expect(all.length).toBe(299_900)
    expect(all.every((byte, i) => byte === ((i * 11 + (i >> 9)) & 0xff))).toBe(true)
    expect(disk.contents.slice(100 * 512, 108 * 512).every((byte) => byte === 0x77)).toBe(true)
    expect(disk.log.at(-1)).toBe('flush')
    expect(r.blkback.stats).toMatchObject({ reads: 7, writes: 1, flushes: 1, errors: 0, violations: 0 })
    expect([
      front.memory.pages.freePages,
      back.memory.pages.freePages,
      front.grants.freeEntries,
      back.memory.slots.freeSlots,
    ]).toEqual(free)
    expect(xen.domains.map((domain) => domain.maps.size)).toEqual([0, 0, 0])
    for (const path of [FRONT, BACK]) expect(r.store.nodes.get(`${path}/state`)).toBe(String(XENBUS_STATE.Closed))
  })

  test('copies to a second place and flushes it at the end', async () => {
    const r = rig()
    const sink = new MemoryDisk(r.front, new Uint8Array(586 * 512))
    await withDisk(r, async (xvda) => {
      sink.reversed = true
      const result = await streamBlocks(r.front, xvda, { sink, depth: 5 })
      expect(result).toMatchObject({ status: 0, failed: null, bytes: 300_000, written: 300_000 })
    })
    expect(sink.contents).toEqual(r.disk.contents)
    expect(sink.log.at(-1)).toBe('flush')
  })

  test('a disk that fails ends the stream with its place, and the disk stays usable', async () => {
    const r = rig()
    await withDisk(r, async (xvda) => {
      let seen = 0
      const result = await streamBlocks(r.front, xvda, {
        depth: 2,
        each: () => {
          if (++seen === 3) r.disk.nextStatus = BlockStatus.ioError
        },
      })
      expect(result.status).toBe(BlockStatus.ioError)
      expect(result.failed).toMatchObject({ device: 'xvda', op: BlockOp.read, bytes: 45056 })
      expect(result.failed!.offset % 45056).toBe(0)
      expect(result.bytes).toBeLessThan(300_000)
      r.disk.nextStatus = BlockStatus.ok
      expect((await streamBlocks(r.front, xvda)).status).toBe(BlockStatus.ok)
    })
  })

  test('an empty disk is read with no request', async () => {
    const r = rig(0)
    await withDisk(r, async (xvda) => {
      expect(await streamBlocks(r.front, xvda)).toEqual({ status: 0, failed: null, bytes: 0, written: 0, requests: 0 })
    })
  })

  test.each([
    ['beyond the end', 580, [0, 4096]],
    ['half a sector', 0, [0, 100]],
    ['an offset inside a sector', 0, [100, 512]],
    ['a piece that leaves its page', 0, [2048, 4096]],
  ] as const)('a request %s is refused before it leaves the kernel', async (_name, sector, [offset, length]) => {
    const r = rig()
    await withDisk(r, async (xvda) => {
      const request = new BlockRequest(1, () => {})
      request.sector = sector
      request.list.add(100, offset, length)
      expect(await submit(r.front, xvda, request)).toBe(BlockStatus.invalid)
    })
    expect(r.disk.log).toEqual([])
  })

  test('an unknown protocol is refused in xenstore, and other front-ends go on', async () => {
    const r = rig()
    r.store.nodes.set(`${FRONT}/protocol`, 'arm-abi')
    r.store.nodes.set(`${FRONT}/ring-ref`, '8')
    r.store.nodes.set(`${FRONT}/event-channel`, '1')
    r.store.nodes.set(`${FRONT}/state`, String(XENBUS_STATE.Initialised))
    r.back.spawn('main', async () => {
      await r.back.xenbus.register(r.blkback)
      await r.back.sleep(1e6)
    })
    await r.xen.run()
    expect(r.store.nodes.get(`${BACK}/state`)).toBe(String(XENBUS_STATE.Closed))
    expect(r.store.nodes.get(`${BACK}/error`)).toBe('the front-end wants the unknown protocol "arm-abi"')
  })

  test('a disk that is not there is an error in xenstore', async () => {
    const r = rig()
    r.store.nodes.set(`${BACK}/params`, 'nvme9n1')
    r.back.spawn('main', async () => {
      await r.back.xenbus.register(r.blkback)
      await r.back.sleep(1e6)
    })
    await r.xen.run()
    expect(r.store.nodes.get(`${BACK}/error`)).toBe('there is no disk nvme9n1 here')
    expect(r.store.nodes.get(`${BACK}/state`)).toBe(String(XENBUS_STATE.Closed))
  })

  test('disks are named by their device number, 16 apart', () => {
    expect(['51712', '51728', '51713', '7'].map(diskName)).toEqual(['xvda', 'xvdb', 'vbd-51713', 'vbd-7'])
  })
})

describe('a back-end that breaks the rules is not believed (XSA-391, XSA-392 class)', () => {
  function lone(): {
    xen: ToyHypervisor
    front: Kernel
    disk: XenDisk
    port: number
    page: ReturnType<Kernel['memory']['window']>
    statuses: number[]
    ask: () => void
  } {
    const xen = new ToyHypervisor()
    const front = bootKernel(xen.create('front', 512).platform)
    bootKernel(xen.create('back', 512).platform)
    const page = front.memory.allocate(4096)!
    const port = front.events.allocUnbound(1)
    const disk = new XenDisk(
      front,
      { name: 'xvda', sectors: 100, bytes: 51200, sectorSize: 512, readonly: false, canFlush: true },
      1,
      page,
      port,
    )
    const statuses: number[] = []
    const buffer = front.memory.allocate(4096)!
    const ask = (): void => {
      const request = new BlockRequest(1, ({ status }) => statuses.push(status))
      request.list.addBuffer(buffer)
      disk.queue(request)
      disk.commit()
    }
    return { xen, front, disk, port, page, statuses, ask }
  }

  const respond = (page: ReturnType<Kernel['memory']['window']>, slot: number, id: bigint): void =>
    page.write(
      ringOffset(slot, 32, blkif_request.size),
      blkif_response.encode({ id, operation: BLKIF_OP.READ, status: 0 }),
    )

  test.each([
    ['an answer to a request that was not asked', (r: ReturnType<typeof lone>) => respond(r.page, 0, 5n), 1],
    ['an id beyond the ring', (r: ReturnType<typeof lone>) => respond(r.page, 0, 1n << 40n), 1],
    ['more answers than requests', () => {}, 2],
    ['an index that jumps', () => {}, 0x9000_0000],
  ] as const)('%s', async (_name, write, index) => {
    const r = lone()
    r.ask()
    write(r)
    r.page.write32(ring_header.offsets.rsp_prod, index)
    r.xen.raise(r.xen.domains[0]!, r.port)
    await r.xen.run()
    expect(r.statuses).toEqual([BlockStatus.ioError])
    r.ask()
    expect(r.statuses).toEqual([BlockStatus.ioError, BlockStatus.ioError])
    expect(r.xen.domains[0]!.console).toMatch(/the back-end is broken/)
  })

  test('an answer while the page is still mapped: the grant stays, so that the page is never used for anything else', async () => {
    const r = lone()
    r.ask()
    const free = r.front.grants.freeEntries
    const request = blkif_request.decode(r.page.read(64, new Uint8Array(112)))
    const toy = r.xen.domains[0]!
    const entry = toy.grantFrames[0]! * 4096 + request.seg[0]!.gref * 8
    r.xen.machine.memory.bytes[entry]! |= 0x18
    respond(r.page, 0, request.id)
    r.page.write32(ring_header.offsets.rsp_prod, 1)
    r.xen.raise(toy, r.port)
    await r.xen.run()
    expect(r.statuses).toEqual([BlockStatus.ioError])
    expect(r.front.grants.freeEntries).toBe(free)
  })
})
