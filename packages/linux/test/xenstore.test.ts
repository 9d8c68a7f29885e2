/** The xenstore client on the wire: xen/include/public/io/xs_wire.h. */
import { xenstore_domain_interface, XS, xsd_sockmsg } from '@iospace/abi'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bootKernel, ByteRing, type Kernel, type KernelBuffer } from '../src/index.ts'
import { bootBare } from './support/bare.ts'
import { ToyHypervisor } from './support/toy-hypervisor.ts'
import { attachXenstore, ToyXenstore } from './support/toy-xenstore.ts'

interface Rig {
  readonly xen: ToyHypervisor
  readonly store: ToyXenstore
  readonly guest: Kernel
  readonly page: KernelBuffer
  run(body: () => Promise<void>): Promise<void>
}

function rig(): Rig {
  const xen = new ToyHypervisor()
  const store = new ToyXenstore()
  const server = xen.create('dom0', 512)
  const client = xen.create('guest', 512, '', { pfn: 2, port: 1 })
  const [serverPort] = xen.connect(server, client)
  const dom0 = bootKernel(server.platform)
  const guest = bootKernel(client.platform)
  const page = guest.memory.window(2)
  attachXenstore(store, dom0, 1, page, serverPort)
  const run = async (body: () => Promise<void>): Promise<void> => {
    guest.spawn('test', body)
    await xen.run()
  }
  return { xen, store, guest, page, run }
}

test('a request is a header of 16 bytes and its strings; the answer is found by its req_id', async () => {
  const { guest, store, page, run } = rig()
  store.nodes.set('/local/domain/1/name', 'guest')
  store.nodes.set('/tool', '12')
  await run(async () => {
    expect(await guest.xenstore.read('name')).toBe('guest')
    expect(await guest.xenstore.readNumber('/tool')).toBe(12)
    expect(await guest.xenstore.readNumber('name')).toBeUndefined()
    expect(await guest.xenstore.read('/absent')).toBeUndefined()
  })
  const first = xsd_sockmsg.decode(page.read(0, new Uint8Array(16)))
  expect(first).toEqual({ type: XS.READ, req_id: 1, tx_id: 0, len: 5 })
  expect(new TextDecoder().decode(page.read(16, new Uint8Array(5)))).toBe('name\0')
})

test('values are written without a closing zero, errors come back by name, directories as names', async () => {
  const { guest, store, run } = rig()
  await run(async () => {
    expect(await guest.xenstore.write('device/vbd/0/state', 4)).toBe('ok')
    expect(store.nodes.get('/local/domain/1/device/vbd/0/state')).toBe('4')
    expect(await guest.xenstore.directory('device')).toEqual(['vbd'])
    expect(await guest.xenstore.directory('nothing')).toEqual([])
    expect(await guest.xenstore.mkdir('x')).toBe('ENOSYS')
    expect(await guest.xenstore.remove('device')).toBe('ok')
    expect(await guest.xenstore.directory('device')).toEqual([])
    expect(await guest.xenstore.write('long', 'x'.repeat(4096))).toBe('E2BIG')
  })
})

test('messages longer than the ring, from many tasks, in small pieces, arrive whole', async () => {
  const { guest, store, xen } = rig()
  store.chunk = 100
  const value = 'v'.repeat(3000)
  for (let i = 0; i < 5; i++) {
    guest.spawn(`writer ${i}`, async () => {
      expect(await guest.xenstore.write(`n${i}`, value + i)).toBe('ok')
      expect(await guest.xenstore.read(`n${i}`)).toBe(value + i)
    })
  }
  await xen.run()
  expect(store.log).toHaveLength(10)
})

test('a watch fires once at first, then at each change below it, until it is removed', async () => {
  const { guest, store, run } = rig()
  const seen: string[] = []
  await run(async () => {
    const watch = await guest.xenstore.watch('device', (path) => seen.push(path))
    expect(watch).not.toBeNull()
    await guest.xenstore.write('device/vbd/1/state', 1)
    store.set('/local/domain/1/device/vbd/2', 'x')
    await guest.sleep(1e6)
    await watch!.remove()
    await guest.xenstore.write('device/vbd/1/state', 2)
  })
  expect(seen).toEqual(['device', 'device/vbd/1/state', 'device/vbd/2'])
})

test('a server whose indices make no sense is not believed: every request ends with an error', async () => {
  const { guest, page, xen, run } = rig()
  let answer = ''
  await run(async () => {
    expect(await guest.xenstore.write('x', 'y')).toBe('ok')
    page.write32(xenstore_domain_interface.offsets.rsp_prod, 5000)
    xen.raise(xen.domains[1]!, 1)
    await guest.sleep(1e6)
    answer = await guest.xenstore.write('x', 'y')
  })
  expect(answer).toBe('EPROTO')
})

test('the ring of bytes loses nothing at any fill, also where its indices wrap at 2^32', () => {
  const { kernel } = bootBare()
  const page = kernel.memory.allocate(4096)!
  fc.assert(
    fc.property(
      fc.constantFrom(0, 0xffff_fe00),
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 1500 }), { maxLength: 20 }),
      (start, messages) => {
        page.write32(2048, start)
        page.write32(2052, start)
        const ring = new ByteRing(page, 0, 1024, 2048, 2052)
        const sent: number[] = []
        const received: number[] = []
        for (const message of messages) {
          const count = ring.write(message)
          expect(count).toBe(Math.min(message.length, 1024 - (sent.length - received.length)))
          sent.push(...message.subarray(0, count))
          if (message[0]! % 2 === 0) received.push(...ring.read()!)
        }
        received.push(...ring.read()!)
        expect(received).toEqual(sent)
      },
    ),
  )
})
