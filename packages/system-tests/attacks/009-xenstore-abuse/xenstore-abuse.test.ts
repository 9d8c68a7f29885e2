import { XENSTORE, XENSTORE_ERROR, xenstore_domain_interface, XS, xsd_sockmsg } from '@iospace/abi'
import type { Kernel, KernelBuffer } from '@iospace/linux'
import { describe, expect, test } from 'vitest'
import { endAbruptly } from '../../support/abrupt-end.ts'
import { RawFrontend } from '../../support/raw-frontend.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const { offsets } = xenstore_domain_interface
/** Where the builder puts the page, and its port. */
const STORE_PFN = 2
const STORE_PORT = 1
const ME = `/local/domain/${Domid.attacker}`
const OTHERS = [Domid.dom0, Domid.driver, Domid.neighbour].map((domid) => `/local/domain/${domid}`)

test('what belongs to others can be neither read nor changed (xenstore.txt, permissions; I17)', async () => {
  const answers: Record<string, string> = {}
  const played = await play({
    attacker: async (kernel) => {
      const { xenstore } = kernel
      const raw = await RawFrontend.open(kernel)
      const ask = async (name: string, type: number, strings: string[], tail: string | null = null) => {
        answers[name] = (await xenstore.request(type, strings, 0, tail)).error ?? 'ok'
      }
      for (const path of OTHERS) {
        for (const node of [
          '',
          '/name',
          '/data/x',
          '/control/shutdown',
          '/device/vbd/51712/state',
          `/backend/vbd/${Domid.neighbour}/51712/state`,
        ]) {
          await ask(`write ${path}${node}`, XS.WRITE, [`${path}${node}`], '1')
          await ask(`read ${path}${node}`, XS.READ, [`${path}${node}`])
          await ask(`remove ${path}${node}`, XS.RM, [`${path}${node}`])
          await ask(`list ${path}${node}`, XS.DIRECTORY, [`${path}${node}`])
          await ask(`permit ${path}${node}`, XS.SET_PERMS, [`${path}${node}`, `b${Domid.attacker}`])
        }
      }
      // Its disk's other half may be read, and only read; what dom0 wrote about it, too.
      await ask('write the back-end’s state', XS.WRITE, [`${raw.backendPath}/state`], '4')
      await ask('make room in the back-end’s folder', XS.MKDIR, [`${raw.backendPath}/more`])
      await ask('write its own domid', XS.WRITE, [`${ME}/domid`], '0')
      await ask('write its own name', XS.WRITE, [`${ME}/name`], 'dom0')
      await ask('make a second disk', XS.MKDIR, [`${ME}/device/vbd/51744`])
      await ask('remove its own folder', XS.RM, [ME])
      await ask('write at the root', XS.WRITE, ['/mine'], '1')
      await ask('take its own folder', XS.SET_PERMS, [ME, `n${Domid.attacker}`])
      await ask('give its disk away', XS.SET_PERMS, [`${ME}/device/vbd/51712`, `n${Domid.neighbour}`])
      await ask('introduce a domain', XS.INTRODUCE, ['9', '1', '1'])
      await ask('release the neighbour', XS.RELEASE, [String(Domid.neighbour)])
      await ask('release dom0', XS.RELEASE, ['0'])
      await ask('control', XS.CONTROL, ['print'])
      await ask('no such transaction', XS.TRANSACTION_END, ['T'])
      await ask('no path', XS.READ, ['//'])
      await ask('an unknown request', 77, ['x'])
    },
  })
  expect(Object.entries(answers).filter(([, answer]) => answer === 'ok')).toEqual([])
  expect(Object.keys(answers)).toHaveLength(3 * 6 * 5 + 16)
  await expectUnharmed(played)
})

test('a guest uses no more of the store than its quota, and may use that (I16; figures of xenstored)', async () => {
  const seen: Record<string, string> = {}
  const played = await play({
    attacker: async (kernel) => {
      const { xenstore } = kernel
      let nodes = 0
      for (let status = 'ok'; status === 'ok'; nodes++) {
        status = await xenstore.write(`data/n${nodes}`, 'x')
        seen['nodes'] = status
      }
      seen['how many'] = nodes > 900 && nodes <= 1001 ? 'about a thousand' : String(nodes)
      seen['a value of 2048 bytes'] = await xenstore.write('data/n0', 'x'.repeat(2048))
      seen['a value of 2049 bytes'] = await xenstore.write('data/n0', 'x'.repeat(2049))
      let watches = 0
      for (; watches < 1000; watches++) {
        const { error } = await xenstore.request(XS.WATCH, ['data', `t${watches}`], 0)
        if (error !== null) {
          seen['watches'] = error
          break
        }
      }
      for (let i = 0; i < 1000; i++) {
        const { error } = await xenstore.request(XS.TRANSACTION_START, [''], 0)
        if (error !== null) {
          seen['transactions'] = `${error} after ${i}`
          break
        }
      }
      seen['still served'] = (await xenstore.read('name')) ?? 'no'
    },
  })
  expect(seen).toEqual({
    nodes: 'ENOSPC',
    'how many': 'about a thousand',
    'a value of 2048 bytes': 'ok',
    'a value of 2049 bytes': 'ENOSPC',
    watches: expect.stringMatching(/^E(2BIG|NOSPC)$/),
    transactions: expect.stringMatching(/^E(NOSPC|BUSY) after 10$/),
    'still served': 'attacker',
  })
  await expectUnharmed(played)
})

/** Writes a message by hand: a header that says what it likes, and some bytes behind it. */
function send(ring: KernelBuffer, kernel: Kernel, header: { type?: number; len?: number }, body = ''): void {
  const bytes = new TextEncoder().encode(body)
  const message = [
    ...xsd_sockmsg.encode({ type: XS.READ, req_id: 999, tx_id: 0, len: bytes.length, ...header }),
    ...bytes,
  ]
  const producer = ring.read32(offsets.req_prod)
  message.forEach((byte, i) => ring.write8(offsets.req + ((producer + i) % XENSTORE.RING_SIZE), byte))
  ring.write32(offsets.req_prod, producer + message.length)
  kernel.events.send(STORE_PORT)
}

describe('a guest that breaks the ring of its connection loses the connection and nothing else does (xenstore-ring.txt; I22)', () => {
  const BREAKS: readonly [string, number, (ring: KernelBuffer, kernel: Kernel) => void][] = [
    [
      'a request index beyond the ring',
      XENSTORE_ERROR.RINGIDX,
      (ring, kernel) => {
        ring.write32(offsets.req_prod, ring.read32(offsets.req_cons) + XENSTORE.RING_SIZE + 1)
        kernel.events.send(STORE_PORT)
      },
    ],
    [
      'a request index behind',
      XENSTORE_ERROR.RINGIDX,
      (ring, kernel) => {
        ring.write32(offsets.req_prod, (ring.read32(offsets.req_cons) - 1) >>> 0)
        kernel.events.send(STORE_PORT)
      },
    ],
    [
      'the server’s own index is changed',
      XENSTORE_ERROR.RINGIDX,
      (ring, kernel) => {
        ring.write32(offsets.req_cons, 0x8000_0000)
        kernel.events.send(STORE_PORT)
      },
    ],
    [
      'an answer index that makes no sense',
      XENSTORE_ERROR.RINGIDX,
      (ring, kernel) => {
        ring.write32(offsets.rsp_cons, (ring.read32(offsets.rsp_prod) + 5) >>> 0)
        send(ring, kernel, {}, 'name\0')
      },
    ],
    ['a message longer than any', XENSTORE_ERROR.PROTO, (ring, kernel) => send(ring, kernel, { len: 4097 })],
    ['a message of 4 GiB', XENSTORE_ERROR.PROTO, (ring, kernel) => send(ring, kernel, { len: 0xffff_ffff })],
  ]
  test.each(BREAKS)('%s', async (_name, error, attack) => {
    let seen = -1
    const played = await play({
      attacker: async (kernel) => {
        const ring = kernel.memory.window(STORE_PFN)
        attack(ring, kernel)
        await kernel.sleep(1e6)
        seen = ring.read32(offsets.error)
        // Nothing that goes through xenstore will come any more.
        await endAbruptly(kernel)
      },
    })
    expect(seen).toBe(error)
    await expectUnharmed(played)
  })

  test('a guest that does not read its answers is not asked for more, so that nothing piles up in dom0', async () => {
    const seen = { waits: 0, error: -1 }
    const played = await play({
      attacker: async (kernel) => {
        const ring = kernel.memory.window(STORE_PFN)
        for (let i = 0; i < 100; i++) await kernel.xenstore.request(XS.WATCH, ['data', `${'t'.repeat(60)}${i}`], 0)
        await kernel.sleep(1e6)
        // From here on its kernel is deaf. Each write would be answered, and told to a hundred watches.
        kernel.events.mask(STORE_PORT)
        for (let i = 0; i < 1000; i++) {
          const waits = (ring.read32(offsets.req_prod) - ring.read32(offsets.req_cons)) >>> 0
          if (waits < 900) send(ring, kernel, { type: XS.WRITE }, `data/x${i}\0x`)
          await kernel.sleep(2000)
        }
        seen.waits = (ring.read32(offsets.req_prod) - ring.read32(offsets.req_cons)) >>> 0
        seen.error = ring.read32(offsets.error)
        await endAbruptly(kernel)
      },
    })
    expect(seen.error).toBe(XENSTORE_ERROR.NONE)
    expect(seen.waits).toBeGreaterThan(900)
    await expectUnharmed(played)
  })

  test('half a message, for ever: nobody waits for the other half', async () => {
    const played = await play({
      attacker: async (kernel) => {
        send(kernel.memory.window(STORE_PFN), kernel, { len: 4096 }, 'half')
        await kernel.sleep(5e6)
        await endAbruptly(kernel)
      },
    })
    await expectUnharmed(played)
  })
})
