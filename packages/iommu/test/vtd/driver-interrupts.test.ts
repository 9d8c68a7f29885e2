import { describe, expect, test } from 'vitest'
import { type DriverPort, DriverStatus, type InterruptMessage } from '../../src/driver.ts'
import { VTD_BASE, vtdPersonalities } from '../../src/hardware.ts'
import type { Probe } from './board.ts'
import { custom } from './personality.ts'
import { changed, Rig } from './rig.ts'

/** mapInterrupt and unmapInterrupt, through messages of devices; what enable writes, and in which order (facts A.6, G). */
const silicon = vtdPersonalities['sandybridge-ep']
const fresh = (): InterruptMessage => ({ addressLow: 0, addressHigh: 0, data: 0 })
const send = (device: Probe, { addressLow, data }: InterruptMessage): number => device.message(data, addressLow >>> 0)

function start(options: ConstructorParameters<typeof Rig>[0] = {}) {
  const rig = new Rig(options)
  const { device } = rig.start()
  return { rig, device, other: rig.device(16) }
}

describe.each(Object.values(vtdPersonalities))('$name', (personality) => {
  test('before and after, messages of either format are blocked; in between one device’s are sent [vtd.driver.interrupt.blocked]', () => {
    const { rig, device, other } = start({ personality })
    expect(rig.driver.capabilities.interruptIsolation).toBe(true)
    const message = fresh()
    expect([device.message(0x41), device.message(0, 0xfee00018)]).toEqual([-1, -1])
    const handle = rig.driver.mapInterrupt(device.requester, 0x41, message)
    expect(handle).toBeGreaterThanOrEqual(0)
    expect([send(device, message), send(other, message), device.message(0x41)]).toEqual([1, -1, -1])
    expect(rig.vectors()).toEqual([0x41])
    expect(rig.driver.unmapInterrupt(device.requester, handle)).toBe(0)
    expect([send(device, message), rig.vectors()]).toEqual([-1, [0x41]])
  })
})

test('the message is remappable, with SHV and data 0; the entry: P, vector, SID, SVT 1 [vtd.driver.interrupt.entry]', () => {
  const { rig } = start()
  const message = fresh()
  expect(rig.driver.mapInterrupt(8, 0x41, fresh())).toBe(0)
  expect(rig.driver.mapInterrupt(0x1234, 0xe7, message)).toBe(1)
  expect({ ...message, addressLow: message.addressLow >>> 0 }).toEqual({
    addressLow: 0xfee00038,
    addressHigh: 0,
    data: 0,
  })
  const table = Number(rig.read64(0xb8) & ~0xfffn)
  expect([rig.load(table), rig.load(table + 8)]).toEqual([0x0041_0001n, 0x4_0008n])
  expect([rig.load(table + 16), rig.load(table + 24)]).toEqual([0x00e7_0001n, 0x4_1234n])
})

test('256 entries, then noTable; a released one is given again [vtd.driver.interrupt.release]', () => {
  const { rig, device } = start()
  const messages = Array.from({ length: 256 }, (_, i) => {
    const message = fresh()
    expect(rig.driver.mapInterrupt(8, 0x30 + (i % 0xc0), message)).toBe(i)
    return message
  })
  expect(rig.driver.mapInterrupt(8, 0x41, fresh())).toBe(DriverStatus.noTable)
  messages.forEach((message) => expect(send(device, message)).toBe(1))
  expect(rig.vectors()).toHaveLength(256)
  expect(rig.driver.unmapInterrupt(8, 200)).toBe(0)
  expect(send(device, messages[200]!)).toBe(-1)
  expect(rig.driver.mapInterrupt(16, 0x99, fresh())).toBe(200)
  // The new owner's entry, not the cached old one.
  expect(send(device, messages[200]!)).toBe(-1)
})

test('a unit without ECAP.IR: not isolated, unsupported, and messages pass [vtd.driver.interrupt.none]', () => {
  const { rig, device } = start({ personality: custom(silicon, { ecapLow: silicon.ecapLow & ~0x18 }) })
  expect(rig.driver.capabilities.interruptIsolation).toBe(false)
  expect(rig.driver.mapInterrupt(8, 0x41, fresh())).toBe(DriverStatus.unsupported)
  expect(rig.driver.unmapInterrupt(8, 0)).toBe(DriverStatus.unsupported)
  expect(device.message(0x41)).toBe(1)
  expect(rig.read(0x1c)).toBe(0xc4000000)
  expect(rig.held.size).toBe(5)
})

test('somebody else’s entry cannot be released', () => {
  const { rig } = start()
  const handle = rig.driver.mapInterrupt(8, 0x41, fresh())
  expect(() => rig.driver.unmapInterrupt(16, handle)).toThrow('is not one of requester 0x10')
  expect(() => rig.driver.unmapInterrupt(8, handle + 1)).toThrow('is not one of requester 0x8')
})

test('the table is one of the driver’s own frames, given back by disable, which turns remapping off', () => {
  const { rig, device } = start()
  const message = fresh()
  rig.driver.mapInterrupt(8, 0x41, message)
  expect(rig.driver.ownFrames()).toContain(Number(rig.read64(0xb8) >> 12n))
  rig.driver.disable()
  expect([rig.held.size, rig.read(0x1c) & 0x86000000, device.message(0x42), rig.vectors()]).toEqual([0, 0, 1, [0x42]])
  expect(rig.driver.enable()).toBe(0)
  expect(send(device, message)).toBe(-1)
})

describe('order of operations', () => {
  /** GCMD writes, the tail writes in between as 0, the status as it was before each. */
  function recorded(personality = silicon) {
    const commands: { readonly value: number; readonly status: number; readonly offset: number }[] = []
    const rig = new Rig({
      personality,
      wrap: (port: DriverPort) =>
        changed(port, {
          write32: (address, value) => {
            commands.push({
              offset: address - VTD_BASE,
              value: value >>> 0,
              status: (port.read32(VTD_BASE + 0x1c) & 0x96800000) >>> 0,
            })
            port.write32(address, value)
          },
        }),
    })
    return { rig, commands }
  }

  test('QIE, SRTP, then IRTA, SIRTP, entry caches, IRE, and TE last [vtd.driver.order.enable, vtd.driver.order.interrupts]', () => {
    const { rig, commands } = recorded()
    expect(rig.driver.enable()).toBe(0)
    const relevant = commands.filter(({ offset }) => [0x18, 0x20, 0x88, 0x90, 0xb8].includes(offset))
    const last = relevant.slice(relevant.findIndex(({ offset, value }) => offset === 0x90 && value !== 0))
    expect(last.map(({ offset, value }) => [offset, offset === 0x18 ? value : null])).toEqual([
      [0x90, null],
      [0x18, 0x04000000],
      [0x20, null],
      [0x18, 0x44000000],
      [0x88, null],
      [0xb8, null],
      [0x18, 0x05000000],
      [0x88, null],
      [0x18, 0x06000000],
      [0x18, 0x86000000],
    ])
  })

  test('each write of GCMD changes one bit of what GSTS says [vtd.driver.one-command]', () => {
    const { rig, commands } = recorded()
    rig.driver.enable()
    rig.driver.disable()
    for (const { offset, value, status } of commands) {
      if (offset !== 0x18) continue
      const bits = ((value ^ status) >>> 0).toString(2).replaceAll('0', '').length
      expect([value.toString(16), bits <= 1]).toEqual([value.toString(16), true])
    }
  })

  test('what firmware left on is taken over: remapping with old-format messages allowed [vtd.driver.order.interrupts]', () => {
    const rig = new Rig()
    rig.remapOn()
    rig.write(0x18, 0x02800000)
    rig.until(0x1c, 0x00800000, 0x00800000)
    const { device } = rig.start()
    expect([device.message(0x41), rig.read(0x1c)]).toEqual([-1, 0xc7000000])
  })
})

describe('a unit that does not answer', () => {
  test('enable: each command of remapping that never completes gives timedOut and all pages back', () => {
    for (const refused of [0x01000000, 0x02000000]) {
      const rig = new Rig({
        timeout: 100_000,
        wrap: (port) =>
          changed(port, {
            write32: (address, value) => {
              if (address !== VTD_BASE + 0x18 || (value & refused) === 0) port.write32(address, value)
            },
          }),
      })
      expect(rig.driver.enable()).toBe(DriverStatus.timedOut)
      expect(rig.held.size).toBe(0)
    }
  })

  test('enable: a queue that dies before the entry caches are forgotten', () => {
    let tails = 0
    const rig = new Rig({
      timeout: 100_000,
      wrap: (port) =>
        changed(port, {
          write32: (address, value) => {
            // The first tail write is 0, the second invalidates contexts and translations.
            if (address !== VTD_BASE + 0x88 || ++tails < 3) port.write32(address, value)
          },
        }),
    })
    expect(rig.driver.enable()).toBe(DriverStatus.timedOut)
    expect(rig.held.size).toBe(0)
  })

  test('enable: TE never completes: remapping is off again', () => {
    const rig = new Rig({
      timeout: 100_000,
      wrap: (port) =>
        changed(port, {
          write32: (address, value) => {
            if (address !== VTD_BASE + 0x18 || (value & 0x80000000) === 0) port.write32(address, value)
          },
        }),
    })
    expect(rig.driver.enable()).toBe(DriverStatus.timedOut)
    expect([rig.held.size, rig.read(0x1c) & 0x02000000]).toEqual([0, 0])
  })

  test('firmware’s remapping cannot be turned off: timedOut', () => {
    let broken = false
    const rig = new Rig({
      timeout: 100_000,
      wrap: (port) =>
        changed(port, {
          write32: (address, value) => {
            if (!broken || address !== VTD_BASE + 0x18) port.write32(address, value)
          },
        }),
    })
    rig.remapOn()
    broken = true
    expect(rig.driver.enable()).toBe(DriverStatus.timedOut)
  })

  test('unmapInterrupt: timedOut, the entry stays taken; tried again it works [vtd.driver.interrupt.release]', () => {
    let broken = false
    const { rig, device } = start({
      timeout: 100_000,
      wrap: (port) =>
        changed(port, {
          write32: (address, value) => {
            if (!broken || address !== VTD_BASE + 0x88) port.write32(address, value)
          },
        }),
    })
    const message = fresh()
    const handle = rig.driver.mapInterrupt(8, 0x41, message)
    send(device, message)
    broken = true
    expect(rig.driver.unmapInterrupt(8, handle)).toBe(DriverStatus.timedOut)
    // Still cached: nobody else may have the entry.
    expect(send(device, message)).toBe(1)
    expect(rig.driver.mapInterrupt(16, 0x42, fresh())).not.toBe(handle)
    broken = false
    expect(rig.driver.unmapInterrupt(8, handle)).toBe(0)
    expect(send(device, message)).toBe(-1)
    expect(rig.driver.mapInterrupt(16, 0x43, fresh())).toBe(handle)
  })

  test('a queue without room: timedOut', () => {
    let broken = false
    const { rig } = start({
      timeout: 100_000,
      wrap: (port) =>
        changed(port, {
          write32: (address, value) => {
            if (!broken || address !== VTD_BASE + 0x88) port.write32(address, value)
          },
        }),
    })
    const handle = rig.driver.mapInterrupt(8, 0x41, fresh())
    broken = true
    for (let i = 0; i < 300; i++) rig.driver.queueInvalidation(1, 0, i * 0x4000, 1)
    expect(rig.driver.unmapInterrupt(8, handle)).toBe(DriverStatus.timedOut)
  })
})

test('a damaged descriptor: everything is forgotten, interrupt entries too [vtd.driver.recovery.error]', () => {
  let armed = false
  const { rig, device } = start({
    wrap: (port) =>
      changed(port, {
        storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
          const hit = armed && (lo0 & 0xf) === 4
          if (hit) armed = false
          port.storeCoherent128(mfn, index, hi0, hit ? 0xf : lo0, hi1, lo1)
        },
      }),
  })
  const message = fresh()
  const handle = rig.driver.mapInterrupt(8, 0x41, message)
  send(device, message)
  armed = true
  expect(rig.driver.unmapInterrupt(8, handle)).toBe(0)
  expect([send(device, message), rig.read(0x34) & 0x10]).toEqual([-1, 0])
})
