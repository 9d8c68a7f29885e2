import { describe, expect, test } from 'vitest'
import { type DriverPort, DriverStatus } from '../../src/driver.ts'
import { vtdPersonalities } from '../../src/hardware.ts'
import { Board, PAGE_A, STATUS } from './board.ts'
import { custom } from './personality.ts'
import { changed, DATA, Rig } from './rig.ts'

/**
 * Invalidations of device TLBs, and what happens when no device answers or one answers unasked (facts A.5; VT-d specification 6.5.2.11). No
 * named unit advertises device TLBs: these do, by hand. No device of the board has one: who answers is the test.
 */
const { qemu48, 'sandybridge-ep': silicon } = vtdPersonalities
const WITH_TLBS = custom(qemu48, { ecapLow: 0x00f00f4e })
const ICE = 0x20
const ITE = 0x40
const IQE = 0x10
const device = (requester: bigint) => 3n | (requester << 32n)
const wait = (data: bigint, flags = 0x20n): bigint => (data << 32n) | flags | 5n
const TIMEOUT = 100_000

function board(personality = WITH_TLBS): Board {
  const made = new Board({ personality })
  made.ordinary()
  made.store(PAGE_A, 0xaan)
  made.turnOn()
  made.queueOn()
  return made
}

describe('a device that completes', () => {
  test('a wait behind the request ends when the completion comes, not before [vtd.queue.descriptor.device-tlb]', () => {
    const made = board()
    made.queue(device(8n), 0x7ffffffffffff001n)
    made.queue(wait(1n), BigInt(STATUS))
    made.queue(wait(2n), BigInt(STATUS + 8))
    made.ring()
    made.elapse(50_000)
    expect([made.load(STATUS), made.load(STATUS + 8)]).toEqual([0n, 0n])
    made.unit.deviceTlbCompleted(8)
    made.elapse(1000)
    expect([made.load(STATUS), made.load(STATUS + 8), made.read64(0x80), made.read(0x34)]).toEqual([1n, 2n, 48n, 0])
  })

  test('of several requests the wait needs all', () => {
    const made = board()
    for (const requester of [8n, 16n, 8n]) made.queue(device(requester))
    made.queue(wait(1n), BigInt(STATUS))
    made.ring()
    made.elapse(1000)
    for (const requester of [8, 16, 8]) {
      expect(made.load(STATUS)).toBe(0n)
      made.unit.deviceTlbCompleted(requester)
    }
    expect(made.load(STATUS)).toBe(1n)
    // Long after: nothing times out.
    made.elapse(2 * TIMEOUT)
    expect(made.read(0x34)).toBe(0)
  })

  test('completed before the wait is reached, nothing is held up; and a tail that moves meanwhile is seen', () => {
    const made = board()
    made.queue(device(8n))
    made.ring()
    made.elapse(1000)
    made.unit.deviceTlbCompleted(8)
    made.queue(device(8n))
    made.queue(wait(1n), BigInt(STATUS))
    made.ring()
    made.elapse(1000)
    made.queue(wait(2n), BigInt(STATUS))
    made.ring()
    made.elapse(1000)
    expect(made.load(STATUS)).toBe(0n)
    made.unit.deviceTlbCompleted(8)
    made.elapse(1000)
    expect(made.load(STATUS)).toBe(2n)
  })

  test('QIE off waits for it', () => {
    const made = board()
    made.queue(device(8n))
    made.queue(wait(1n), BigInt(STATUS))
    made.ring()
    made.elapse(1000)
    made.write(0x18, 0x80000000)
    made.elapse(10_000)
    expect(made.read(0x1c) & 0x04000000).toBe(0x04000000)
    made.unit.deviceTlbCompleted(8)
    made.until(0x1c, 0x04000000, 0)
    expect(made.load(STATUS)).toBe(1n)
  })
})

describe('a device that does not complete [vtd.queue.time-out, vtd.register.fsts.device-tlb]', () => {
  function timedOut(): Board {
    const made = board()
    made.queue(device(0x1234n))
    made.queue(wait(1n), BigInt(STATUS))
    made.queue(wait(2n), BigInt(STATUS + 8))
    made.ring()
    made.elapse(TIMEOUT + 2000)
    return made
  }

  test('ITE with the source id; the wait that was held up is aborted, what is behind it is not fetched', () => {
    const made = timedOut()
    expect([made.read(0x34), made.read64(0xb0) >> 32n, made.read64(0x80)]).toEqual([ITE, 0x1234n, 32n])
    made.queue(wait(3n), BigInt(STATUS + 8))
    made.ring()
    made.elapse(TIMEOUT)
    expect([made.load(STATUS), made.load(STATUS + 8)]).toEqual([0n, 0n])
  })

  test('it goes on at the head when ITE is cleared', () => {
    const made = timedOut()
    made.write(0x34, ITE)
    made.elapse(2000)
    expect([made.load(STATUS), made.load(STATUS + 8), made.read(0x34), made.read64(0x80)]).toEqual([0n, 2n, 0, 48n])
  })

  test('it is a fault event', () => {
    const made = board()
    made.write(0x3c, 0x52)
    made.write(0x40, 0xfee00000)
    made.write(0x38, 0)
    made.queue(device(8n))
    made.ring()
    made.elapse(TIMEOUT + 2000)
    expect(made.vectors()).toEqual([0x52])
  })

  test('a completion that comes too late is one that nobody asked for', () => {
    const made = timedOut()
    made.unit.deviceTlbCompleted(0x1234)
    expect([made.read(0x34), made.read64(0xb0) >> 32n]).toEqual([ITE | ICE, 0x1234_1234n])
  })

  test('a reset forgets the request', () => {
    const made = board()
    made.queue(device(8n))
    made.queue(wait(1n), BigInt(STATUS))
    made.ring()
    made.elapse(1000)
    made.unit.reset(true)
    made.elapse(2 * TIMEOUT)
    expect([made.read(0x34), made.load(STATUS)]).toEqual([0, 0n])
  })
})

describe('a completion that nobody asked for [vtd.queue.completion-error]', () => {
  test('ICE with the source id, the first one’s; the queue goes on', () => {
    const made = board()
    made.unit.deviceTlbCompleted(0x4321)
    made.unit.deviceTlbCompleted(0x1111)
    expect([made.read(0x34), made.read64(0xb0) >> 48n]).toEqual([ICE, 0x4321n])
    made.invalidate(0x12n)
    made.write(0x34, ICE)
    expect(made.read(0x34)).toBe(0)
    made.unit.deviceTlbCompleted(0x1111)
    expect(made.read64(0xb0) >> 48n).toBe(0x1111n)
  })

  test('of another device than the one that was asked', () => {
    const made = board()
    made.queue(device(8n))
    made.ring()
    made.elapse(1000)
    made.unit.deviceTlbCompleted(16)
    expect(made.read(0x34)).toBe(ICE)
  })

  test('a unit without device TLBs does not hear it [vtd.register.fsts.device-tlb]', () => {
    const made = board(qemu48)
    made.unit.deviceTlbCompleted(8)
    expect(made.read(0x34)).toBe(0)
  })
})

describe('the descriptor [vtd.queue.descriptor.device-tlb]', () => {
  test.each([
    ['bit 4', 0x13n, 0n],
    ['bit 11', 0x803n, 0n],
    ['bit 12 (PFSID)', 0x1003n, 0n],
    ['bit 21', 0x200003n, 0n],
    ['bit 48', 3n | (1n << 48n), 0n],
    ['bit 1 of the upper quadword', 3n, 2n],
    ['bit 11 of the upper quadword', 3n, 0x800n],
  ])('reserved %s', (_name, low, high) => {
    const made = board()
    made.queue(low, high)
    made.ring()
    made.elapse(2000)
    expect([made.read(0x34), made.read64(0xb0)]).toEqual([IQE, 4n])
  })

  test('pending count 20:16, address and size are taken', () => {
    const made = board()
    made.queue(0x1f0003n | (8n << 32n), 0xfffffffffffff001n)
    made.ring()
    made.elapse(2000)
    made.unit.deviceTlbCompleted(8)
    expect([made.read(0x34), made.read64(0x80)]).toEqual([0, 16n])
  })
})

describe('the driver [vtd.driver.recovery.time-out]', () => {
  /** Somebody (firmware, a neighbour) left a request to a device in the queue, in the place of the next invalidation. */
  function disturbed(): { rig: Rig; disturb: (times: number) => void } {
    let armed = 0
    const rig = new Rig({
      personality: custom(silicon, { ecapLow: silicon.ecapLow | 4 }),
      timeout: 2_000_000,
      wrap: (port: DriverPort) =>
        changed(port, {
          storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
            const hit = armed > 0 && (lo0 & 0xf) === 2
            if (hit) armed--
            port.storeCoherent128(mfn, index, hit ? 0x1234 : hi0, hit ? 3 : lo0, hi1, hit ? 0 : lo1)
          },
        }),
    })
    return { rig, disturb: (times) => (armed = times) }
  }

  test('its wait is lost: it clears ITE, invalidates everything, and asks for a wait again', () => {
    const { rig, disturb } = disturbed()
    const { device: probe, table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    probe.put(0x5000, 1n)
    disturb(1)
    expect(rig.unmap(table, 0x5000, 1)).toBe(0)
    expect([probe.put(0x5000, 2n), rig.read(0x34) & ITE]).toEqual([-1, 0])
  })

  test('again and again: timedOut, and nothing is freed', () => {
    const { rig, disturb } = disturbed()
    const { device: probe, table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    probe.put(0x5000, 1n)
    disturb(1000)
    const held = rig.held.size
    expect(rig.unmap(table, 0x5000, 1)).toBe(DriverStatus.timedOut)
    expect([rig.held.size, probe.put(0x5000, 2n)]).toEqual([held, 2])
  })
})
