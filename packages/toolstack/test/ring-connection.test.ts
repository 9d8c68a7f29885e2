import { XENSTORE_ERROR, xenstore_domain_interface, XS, xsd_sockmsg } from '@iospace/abi'
import { KernelBuffer, type Platform } from '@iospace/linux'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RingConnection } from '../src/xenstore/ring-connection.ts'
import { bytesOf, textOf } from '../src/xenstore/text.ts'
import { clientOf, makeStore } from './client.ts'

const { offsets } = xenstore_domain_interface
const GUEST = 3

/** One page of memory as a kernel sees it. */
function page(): KernelBuffer {
  const buffer = new ArrayBuffer(4096)
  const bytes = new Uint8Array(buffer)
  const memory: Platform['memory'] = {
    pages: 1,
    bytes,
    words: new Int32Array(buffer),
    doubles: new Float64Array(buffer),
    view: new DataView(buffer),
    frameOffset: () => 0,
    machineFrame: () => 0,
    copy: (to, from, length) => void bytes.copyWithin(to, from, from + length),
    fill: (at, value, length) => void bytes.fill(value, at, at + length),
  }
  return new KernelBuffer(memory, 0, 0, 4096)
}

/** A guest that writes bytes into its page by hand, as the protocol says. */
function start(pendingEvents = 1024) {
  const { store } = makeStore()
  const dom0 = clientOf(store, 0)
  dom0.call('MKDIR', `/local/domain/${GUEST}|`)
  dom0.call('SET_PERMS', `/local/domain/${GUEST}|n${GUEST}|`)
  const shared = page()
  let events = 0
  const ring = new RingConnection(
    shared,
    () => void events++,
    (connection, type, transaction, payload) => store.request(connection, type, transaction, payload),
    (outbox) => store.connect(GUEST, outbox),
    pendingEvents,
  )
  let produced = 0
  let consumed = 0
  const send = (bytes: Uint8Array): void => {
    for (const byte of bytes) shared.write8(offsets.req + (produced++ & 1023), byte)
    shared.write32(offsets.req_prod, produced >>> 0)
    ring.receive()
  }
  const message = (type: number, requestId: number, payload: string): Uint8Array => {
    const body = bytesOf(payload.replaceAll('|', '\0'))
    return new Uint8Array([...xsd_sockmsg.encode({ type, req_id: requestId, tx_id: 0, len: body.length }), ...body])
  }
  /** Takes at most `most` bytes out of the response ring. */
  const take = (most = Infinity): number[] => {
    const end = shared.read32(offsets.rsp_prod)
    const taken: number[] = []
    while (consumed >>> 0 !== end && taken.length < most) taken.push(shared.read8(offsets.rsp + (consumed++ & 1023)))
    shared.write32(offsets.rsp_cons, consumed >>> 0)
    ring.receive()
    return taken
  }
  /** Everything that comes, as messages. */
  const receive = (most = Infinity): string[] => {
    const all: number[] = []
    for (let taken = take(most); taken.length > 0; taken = take(most)) all.push(...taken)
    const messages: string[] = []
    for (let at = 0; at < all.length;) {
      const header = xsd_sockmsg.decode(Uint8Array.from(all.slice(at, at + xsd_sockmsg.size)))
      const body = Uint8Array.from(all.slice(at + xsd_sockmsg.size, at + xsd_sockmsg.size + header.len))
      messages.push(`${header.type} ${header.req_id} ${textOf(body).replaceAll('\0', '|')}`)
      at += xsd_sockmsg.size + header.len
    }
    return messages
  }
  const error = (): number => shared.read32(offsets.error)
  return { shared, ring, send, message, take, receive, error, dom0, notified: () => events }
}

describe('the xenstore ring (xenstore-ring.txt, xs_wire.h)', () => {
  test('a request is answered with its own type and id, an error with XS_ERROR', () => {
    const { send, message, receive } = start()
    send(message(XS.WRITE, 7, 'x|hello'))
    send(message(XS.READ, 8, 'x|'))
    send(message(XS.READ, 9, 'y|'))
    expect(receive()).toEqual([`${XS.WRITE} 7 OK|`, `${XS.READ} 8 hello`, `${XS.ERROR} 9 ENOENT|`])
  })

  test('the answer to WATCH comes before its first event', () => {
    const { send, message, receive } = start()
    send(message(XS.WATCH, 1, 'x|token|'))
    expect(receive()).toEqual([`${XS.WATCH} 1 OK|`, `${XS.WATCH_EVENT} 0 x|token|`])
  })

  test('messages may come in any pieces, several at once, and wrap around the ring', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 700 }), { minLength: 1, maxLength: 30 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
        (lengths, cuts) => {
          const { send, message, receive } = start()
          const stream: number[] = []
          lengths.forEach((length, i) => stream.push(...message(XS.WRITE, i, `x|${'v'.repeat(length)}`)))
          const answers: string[] = []
          for (let at = 0, i = 0; at < stream.length; i++) {
            const piece = cuts[i % cuts.length]!
            send(Uint8Array.from(stream.slice(at, at + piece)))
            answers.push(...receive(piece))
            at += piece
          }
          expect(answers).toEqual(lengths.map((_, i) => `${XS.WRITE} ${i} OK|`))
        },
      ),
    )
  })

  test('an answer larger than the ring arrives as the guest makes room', () => {
    const { send, message, receive, dom0 } = start()
    dom0.call('WRITE', `/local/domain/${GUEST}/big|${'b'.repeat(4000)}`)
    dom0.call('SET_PERMS', `/local/domain/${GUEST}/big|n${GUEST}|`)
    send(message(XS.READ, 1, 'big|'))
    send(message(XS.READ, 2, 'none|'))
    expect(receive(100)).toEqual([`${XS.READ} 1 ${'b'.repeat(4000)}`, `${XS.ERROR} 2 ENOENT|`])
  })

  test('a guest that reads no answers is not served further, and loses nothing', () => {
    const { send, message, receive, shared } = start()
    for (let i = 0; i < 200; i++) {
      // The ring is full once the server stops taking requests.
      const used = (shared.read32(offsets.req_prod) - shared.read32(offsets.req_cons)) >>> 0
      if (used + 64 > 1024) break
      send(message(XS.READ, i, 'none|'))
    }
    expect(shared.read32(offsets.req_prod) - shared.read32(offsets.req_cons)).toBeGreaterThan(0)
    const ids = receive().map((line) => Number(line.split(' ')[1]))
    expect(ids).toEqual(ids.map((_, i) => i))
    expect(shared.read32(offsets.req_prod) - shared.read32(offsets.req_cons)).toBe(0)
  })

  test('equal events that wait are one', () => {
    const { send, message, receive, dom0 } = start()
    send(message(XS.WATCH, 1, 'x|t|'))
    receive()
    // Fills the response ring, so that what follows waits.
    for (let i = 0; i < 60; i++) dom0.call('WRITE', `/local/domain/${GUEST}/x/n${i % 40}|${i}`)
    for (let i = 0; i < 500; i++) dom0.call('WRITE', `/local/domain/${GUEST}/x/n7|${i}`)
    expect(receive().length).toBeLessThan(110)
  })

  test.each([
    ['far ahead', 5000],
    ['one too far', 1025],
    ['behind', -1],
  ])('a request index %s ends this connection only, and says why', (_, index) => {
    const { shared, ring, error, dom0, send, message, receive } = start()
    shared.write32(offsets.req_prod, index >>> 0)
    ring.receive()
    expect([ring.broken, error()]).toEqual([true, XENSTORE_ERROR.RINGIDX])
    send(message(XS.WRITE, 1, 'x|1'))
    expect(receive()).toEqual([])
    expect(dom0.call('WRITE', '/still|here')).toBe('OK|')
  })

  test('an impossible response index ends the connection', () => {
    const { shared, send, message, ring, error } = start()
    shared.write32(offsets.rsp_cons, 77)
    send(message(XS.READ, 1, 'x|'))
    expect([ring.broken, error()]).toEqual([true, XENSTORE_ERROR.RINGIDX])
  })

  test('a message longer than 4096 bytes ends the connection', () => {
    const { send, ring, error } = start()
    send(xsd_sockmsg.encode({ type: XS.WRITE, req_id: 1, tx_id: 0, len: 4097 }))
    expect([ring.broken, error()]).toEqual([true, XENSTORE_ERROR.PROTO])
  })

  test('a guest that lets events pile up beyond its quota loses the connection', () => {
    const { send, message, receive, dom0, ring, error } = start(50)
    send(message(XS.WATCH, 1, 'x|t|'))
    receive()
    for (let i = 0; i < 200; i++) dom0.call('WRITE', `/local/domain/${GUEST}/x/n${i}|`)
    expect([ring.broken, error()]).toEqual([true, XENSTORE_ERROR.COMM])
    expect(dom0.call('READ', `/local/domain/${GUEST}/x/n199|`)).toBe('')
  })

  test('whatever bytes come, the server lives, and only this connection can end', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 20 }), (pieces) => {
        const { send, receive, dom0 } = start()
        for (const piece of pieces) {
          send(piece)
          receive()
        }
        expect(dom0.call('WRITE', '/still|here')).toBe('OK|')
      }),
    )
  })

  test('each answer raises the guest’s event', () => {
    const { send, message, notified } = start()
    const before = notified()
    send(message(XS.READ, 1, 'x|'))
    expect(notified()).toBeGreaterThan(before)
  })
})
