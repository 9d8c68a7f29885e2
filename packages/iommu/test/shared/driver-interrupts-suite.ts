/** Interrupts of devices through units that check them by source: what every such driver does. */
import { describe, expect, test } from 'vitest'
import { type DriverPort, DriverStatus, type InterruptMessage } from '../../src/driver.ts'
import { changed, DATA, DriverRig, type RigDevice, type RigOptions, type UnitUnderTest } from './driver-rig.ts'

const VECTOR = 0x71
const OTHER = 0x72

/** `perRequester`: how many interrupts of one requester there is room for. */
export function driverInterruptsSuite(unit: UnitUnderTest, perRequester: number): void {
  const start = (options?: RigOptions) => {
    const rig = new DriverRig(unit, options)
    return { rig, ...rig.start() }
  }
  const map = (rig: DriverRig, requester: number, vector: number) => {
    const message: InterruptMessage = { addressLow: 0, addressHigh: 0, data: 0 }
    const handle = rig.driver.mapInterrupt(requester, vector, message)
    return { handle, message }
  }
  const send = (rig: DriverRig, device: RigDevice, { addressLow, addressHigh, data }: InterruptMessage): number => {
    rig.machine.memory.view.setUint32(device.messageAt, data, true)
    return device.dmaWrite(addressHigh, addressLow, device.messageAt, 4)
  }
  /** Vectors that arrived since the last call. */
  const received = (rig: DriverRig): number[] => {
    const counts = rig.machine.interrupts.received
    const found = [...counts].flatMap((count, vector) => Array.from({ length: count }, () => vector))
    counts.fill(0)
    return found
  }
  /** Everything that a device may try: data of every vector, delivery mode and index, at a few addresses of the window. */
  const forge = (rig: DriverRig, device: RigDevice): void => {
    for (const addressLow of [0xfee00000, 0xfee01004, 0xfee00010, 0xfee00018, 0xfeeffffc])
      for (let data = 0; data < 0x800; data++) send(rig, device, { addressLow: addressLow | 0, addressHigh: 0, data })
  }

  test('interrupts are isolated, its capabilities say', () => {
    expect(start().rig.driver.capabilities.interruptIsolation).toBe(true)
  })

  test('before a mapping every message of an attached device is blocked, and logged', () => {
    const { rig, device } = start()
    forge(rig, device)
    expect(received(rig)).toEqual([])
    expect(rig.faults()[0]).toMatchObject({ requester: 8, write: true })
  })

  test('the message that was given raises the vector; other messages of the device raise none', () => {
    const { rig, device } = start()
    const { handle, message } = map(rig, 8, VECTOR)
    expect(handle).toBeGreaterThanOrEqual(0)
    expect([send(rig, device, message), received(rig)]).toEqual([1, [VECTOR]])
    forge(rig, device)
    expect(new Set(received(rig))).toEqual(new Set([VECTOR]))
  })

  test('nobody else can use it', () => {
    const { rig } = start()
    const { message } = map(rig, 8, VECTOR)
    const other = rig.device(16)
    rig.driver.attach(16, rig.driver.createTable(rig.bits))
    expect(send(rig, other, message)).toBe(-1)
    forge(rig, other)
    expect(received(rig)).toEqual([])
  })

  test('several of a device, and of several devices, with the same vector too', () => {
    const { rig, device } = start()
    const second = rig.device(16)
    rig.driver.attach(16, rig.driver.createTable(rig.bits))
    const mine = [map(rig, 8, VECTOR), map(rig, 8, OTHER), map(rig, 8, VECTOR)]
    const theirs = map(rig, 16, OTHER)
    expect(new Set(mine.map(({ handle }) => handle)).size).toBe(3)
    mine.forEach(({ message }) => send(rig, device, message))
    expect(received(rig)).toEqual([VECTOR, VECTOR, OTHER])
    send(rig, second, theirs.message)
    expect(received(rig)).toEqual([OTHER])
  })

  test('unmapped it is blocked on return, also from the caches; the others stay; the handle is given again', () => {
    const { rig, device } = start()
    const [first, second] = [map(rig, 8, VECTOR), map(rig, 8, OTHER)]
    send(rig, device, first.message)
    send(rig, device, second.message)
    received(rig)
    expect(rig.driver.unmapInterrupt(8, first.handle)).toBe(0)
    expect([send(rig, device, first.message), send(rig, device, second.message)]).toEqual([-1, 1])
    expect(received(rig)).toEqual([OTHER])
    const again = map(rig, 8, 0x73)
    expect(again).toEqual(first)
    send(rig, device, again.message)
    expect(received(rig)).toEqual([0x73])
    expect([rig.driver.unmapInterrupt(8, again.handle), rig.driver.unmapInterrupt(8, second.handle)]).toEqual([0, 0])
    forge(rig, device)
    expect(received(rig)).toEqual([])
  })

  test('pages that were taken for it come back', () => {
    const { rig } = start()
    const held = rig.held.size
    for (let round = 0; round < 3; round++) {
      const handles = [VECTOR, OTHER].map((vector) => map(rig, 8, vector).handle)
      expect(new Set(rig.driver.ownFrames())).toEqual(rig.held)
      handles.forEach((handle) => expect(rig.driver.unmapInterrupt(8, handle)).toBe(0))
      expect(rig.held.size).toBeLessThanOrEqual(held + 1)
    }
    map(rig, 8, VECTOR)
    rig.driver.disable()
    expect(rig.held.size).toBe(0)
  })

  test('none is left after the unit was switched off and on', () => {
    const { rig, device } = start()
    const { message } = map(rig, 8, VECTOR)
    rig.driver.disable()
    expect(rig.driver.enable()).toBe(0)
    rig.driver.attach(8, rig.driver.createTable(rig.bits))
    expect([send(rig, device, message), received(rig)]).toEqual([-1, []])
  })

  test('as many as there is room for, then noTable; an unmapped one makes room', () => {
    const { rig, device } = start()
    const all = Array.from({ length: perRequester }, (_, i) => map(rig, 8, 0x20 + (i % 0xc0)))
    expect(map(rig, 8, VECTOR).handle).toBe(DriverStatus.noTable)
    const last = all.at(-1)!
    send(rig, device, last.message)
    expect(received(rig)).toEqual([0x20 + ((perRequester - 1) % 0xc0)])
    expect(rig.driver.unmapInterrupt(8, last.handle)).toBe(0)
    expect(map(rig, 8, VECTOR).handle).toBe(last.handle)
  })

  test('what was not mapped cannot be unmapped', () => {
    const { rig } = start()
    expect(() => rig.driver.unmapInterrupt(8, 3)).toThrow('is not mapped')
    const { handle } = map(rig, 8, VECTOR)
    expect(() => rig.driver.unmapInterrupt(16, handle)).toThrow('is not mapped')
    rig.driver.unmapInterrupt(8, handle)
    expect(() => rig.driver.unmapInterrupt(8, handle)).toThrow('is not mapped')
  })

  describe('a device that sends all the time', () => {
    /** A rig whose device sends `tried` after each store and command; what arrived, by the store after which it did. */
    function hostile() {
      const attack = { tried: [] as InterruptMessage[], on: false, device: null as RigDevice | null }
      const after =
        <A extends unknown[]>(action: (...args: A) => void) =>
        (...args: A): void => {
          action(...args)
          if (attack.on) for (const message of attack.tried) send(rig, attack.device!, message)
        }
      const wrap = (port: DriverPort) =>
        changed(port, {
          store64: after((mfn, index, hi, lo) => port.store64(mfn, index, hi, lo)),
          store32: after((mfn, index, value) => port.store32(mfn, index, value)),
          store128: after((mfn, index, hi0, lo0, hi1, lo1) => port.store128(mfn, index, hi0, lo0, hi1, lo1)),
          publish64: after((mfn, index, hi, lo) => port.publish64(mfn, index, hi, lo)),
          flushLine: after((mfn, index) => port.flushLine(mfn, index)),
          storeCoherent128: after((mfn, index, hi0, lo0, hi1, lo1) =>
            port.storeCoherent128(mfn, index, hi0, lo0, hi1, lo1),
          ),
          write32: after((address, value) => port.write32(address, value)),
          relax: after(() => port.relax()),
        })
      const rig = new DriverRig(unit, { wrap })
      const { device } = rig.start()
      attack.device = device
      return { rig, device, attack }
    }
    const tries = (rig: DriverRig): InterruptMessage[] => {
      // What mapping and unmapping would give, and plain vectors.
      const first = map(rig, 8, VECTOR)
      rig.driver.unmapInterrupt(8, first.handle)
      return [first.message, { addressLow: 0xfee00000 | 0, addressHigh: 0, data: 0x55 }]
    }

    test('gets nothing but the mapped vector through, at no moment of mapping and unmapping', () => {
      const { rig, device, attack } = hostile()
      attack.tried = tries(rig)
      received(rig)
      attack.on = true
      const { handle, message } = map(rig, 8, VECTOR)
      attack.on = false
      expect(new Set(received(rig))).toEqual(new Set([VECTOR]))
      expect([send(rig, device, message), received(rig)]).toEqual([1, [VECTOR]])
      attack.on = true
      expect(rig.driver.unmapInterrupt(8, handle)).toBe(0)
      attack.on = false
      received(rig)
      for (const each of attack.tried) expect(send(rig, device, each)).toBe(-1)
      expect(received(rig)).toEqual([])
    })

    test('nor of attaching and blocking without a mapping', () => {
      const { rig, attack } = hostile()
      attack.tried = tries(rig)
      const other = rig.driver.createTable(rig.bits)
      received(rig)
      attack.on = true
      expect([rig.driver.attach(8, other), rig.driver.block(8), rig.driver.attach(8, other)]).toEqual([0, 0, 0])
      rig.map(other, 0x5000, DATA, 1)
      expect(rig.unmap(other, 0x5000, 1)).toBe(0)
      expect(received(rig)).toEqual([])
    })

    test('has the new one of a handle that was given again, never the old', () => {
      const { rig, attack } = hostile()
      const first = map(rig, 8, VECTOR)
      attack.tried = [first.message]
      attack.on = true
      rig.driver.unmapInterrupt(8, first.handle)
      received(rig)
      map(rig, 8, OTHER)
      attack.on = false
      expect(new Set(received(rig))).toEqual(new Set([OTHER]))
    })
  })

  describe('a unit that does not answer', () => {
    function broken() {
      let on = false
      const wrap = (port: DriverPort) =>
        changed(port, {
          write32: (address, value) => {
            if (!on || address !== unit.doorbell) port.write32(address, value)
          },
        })
      const started = start({ wrap, timeout: 100_000 })
      return { ...started, breakIt: (value: boolean) => (on = value) }
    }

    test('mapping is timedOut, and nothing is mapped', () => {
      const { rig, device, breakIt } = broken()
      breakIt(true)
      const { handle, message } = map(rig, 8, VECTOR)
      expect([handle, message]).toEqual([DriverStatus.timedOut, { addressLow: 0, addressHigh: 0, data: 0 }])
      breakIt(false)
      expect(rig.driver.completeInvalidations()).toBe(0)
      forge(rig, device)
      expect(received(rig)).toEqual([])
      const { message: given } = map(rig, 8, OTHER)
      expect([send(rig, device, given), received(rig)]).toEqual([1, [OTHER]])
    })

    test('unmapping is timedOut, nothing is given again; asked once more it is done', () => {
      const { rig, device, breakIt } = broken()
      const { handle, message } = map(rig, 8, VECTOR)
      const held = rig.held.size
      breakIt(true)
      expect([rig.driver.unmapInterrupt(8, handle), rig.held.size]).toEqual([DriverStatus.timedOut, held])
      breakIt(false)
      expect(rig.driver.unmapInterrupt(8, handle)).toBe(0)
      expect([send(rig, device, message), received(rig)]).toEqual([-1, []])
    })
  })
}
