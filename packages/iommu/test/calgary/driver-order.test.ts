import { describe, expect, test } from 'vitest'
import { DriverStatus, type DriverPort } from '../../src/driver.ts'
import {
  CALGARY_BASE,
  type CalgaryHardware,
  calgaryPersonalities,
  type CalgaryPersonality,
} from '../../src/hardware.ts'
import { secondOwner } from '../shared/driver-faulty-suite.ts'
import { changed, DATA, DriverRig } from '../shared/driver-rig.ts'
import { calgaryUnit } from '../shared/units.ts'
import { reversed } from './board.ts'

/** The documented order of operations (facts C.1), as the chip sees it: register accesses and stores, in words typed from the facts. */
const { calgary, calioc2 } = calgaryPersonalities
const hex = (value: number): string => (value >>> 0).toString(16)

/** A rig whose accesses are written down: registers in the chip’s byte order, entries as memory has them. */
function recorded(personality: CalgaryPersonality = calgary) {
  const log: string[] = []
  const wrap = (port: DriverPort) =>
    changed(port, {
      read32(address) {
        log.push(`read ${hex(address - CALGARY_BASE)}`)
        return port.read32(address)
      },
      write32(address, value) {
        log.push(`${hex(address - CALGARY_BASE)}=${hex(reversed(value))}`)
        port.write32(address, value)
      },
      store64(mfn, index, hi, lo) {
        log.push(`store ${hex(mfn)} ${index} ${hex(lo)}:${hex(hi)}`)
        port.store64(mfn, index, hi, lo)
      },
      flushLine(mfn, index) {
        log.push(`flush ${hex(mfn)} ${index}`)
        port.flushLine(mfn, index)
      },
      publish64(mfn, index, hi, lo) {
        log.push(`store ${hex(mfn)} ${index} ${hex(lo)}:${hex(hi)}`, `flush ${hex(mfn)} ${index}`)
        port.publish64(mfn, index, hi, lo)
      },
    })
  const rig = new DriverRig(calgaryUnit(personality), { wrap })
  return { rig, taken: () => log.splice(0) }
}

/** A blast of bridge 0 with this lower half of TAR. */
const blastOf = (personality: CalgaryPersonality, tar: string): string[] =>
  personality === calioc2
    ? [
        'read 8da8',
        '8da8=80000000',
        'read 4870',
        'read 4874',
        'read 8da0',
        'read 8da8',
        '580=0',
        `584=${tar}`,
        'read 8da8',
        '8da8=0',
        'read 8da8',
      ]
    : [
        'read 8200',
        '8200=0',
        'read 8120',
        'read 4870',
        'read 4874',
        '580=0',
        `584=${tar}`,
        '8200=ffffffff',
        'read 8200',
      ]

describe('initialisation [calgary.config.enable]', () => {
  test('Calgary: TAR of the empty table by a blast, CSR, then TCE_ENABLE, DAC_DISABLE and MCSR_ENABLE in one write that is read back', () => {
    const { rig, taken } = recorded()
    taken()
    expect(rig.driver.enable()).toBe(0)
    const steps = taken()
    // 64 KiB from frame 0x1000 on.
    const first = [
      'read 8200',
      'read 580',
      'read 584',
      ...blastOf(calgary, '1000000'),
      '8110=0',
      'read 8110',
      'read 8160',
      '8160=21100000',
      'read 8160',
    ]
    expect(steps.slice(0, first.length)).toEqual(first)
    expect(steps.filter((step) => step.endsWith('=21100000'))).toEqual(
      ['8160', '9160', 'a160', 'b160'].map((at) => `${at}=21100000`),
    )
  })

  test('CalIOC2: page migration control is reset first, Savior-L2 gets its bit [calgary.calioc2.savior]', () => {
    const { rig, taken } = recorded(calioc2)
    taken()
    rig.driver.enable()
    const first = [
      '8da8=0',
      'read 8200',
      'read 580',
      'read 584',
      ...blastOf(calioc2, '1000000'),
      'read 8db0',
      '8db0=800000',
      'read 8db0',
      '8110=0',
    ]
    expect(taken().slice(0, first.length)).toEqual(first)
  })

  test('Calgary: 2 s for split completions, of the bridge that leads to bus 1 and no other [calgary.ccr.timer]', () => {
    const { rig, taken } = recorded()
    taken()
    rig.machine.mmio.write64(CALGARY_BASE + 0x108, 0xffffffffffffffffn)
    rig.driver.enable()
    expect(taken().filter((step) => /\b10[8c]\b/.test(step))).toEqual(['read 108', '108=fffffeff', 'read 108'])
    expect(rig.machine.mmio.read32(CALGARY_BASE + 0x10c)).toBe(0xffffffff)
  })

  test('the timer of the fourth bridge is in the lower half of CCR [calgary.ccr.timer]', () => {
    const { rig } = recorded()
    const { mmio } = rig.machine
    // Bridge 1 has bus 2, bridge 3 has buses 0 to 9 (where bridge 0 comes first): not as this board has it.
    mmio.write32(CALGARY_BASE + 0x5020, reversed(0x00020200))
    mmio.write32(CALGARY_BASE + 0x7020, reversed(0x00000900))
    mmio.read32(CALGARY_BASE + 0x7020)
    const log: string[] = []
    const port = changed(rig.unit.port({ allocatePage: () => -1, allocateRun: () => 4096, freePage: () => {} }), {})
    const write32 = port.write32.bind(port)
    port.write32 = (address, value) => {
      log.push(`${hex(address - CALGARY_BASE)}=${hex(reversed(value))}`)
      write32(address, value)
    }
    rig.unit.driver(port).enable()
    expect(log.filter((step) => step.startsWith('10'))).toEqual(['10c=e0000000'])
  })

  test('disable: the three bits cleared and read back, then TAR, then the tables are free [calgary.config.enable]', () => {
    const { rig, taken } = recorded()
    rig.driver.enable()
    taken()
    rig.driver.disable()
    expect(taken().slice(0, 3 + 9)).toEqual(['read 8160', '8160=0', 'read 8160', ...blastOf(calgary, '0')])
    expect(rig.held.size).toBe(0)
  })
})

describe.each([calgary, calioc2])('the cache blast, $name', (personality) => {
  const start = () => {
    const made = recorded(personality)
    made.rig.driver.enable()
    const table = made.rig.driver.createTable(27)
    made.rig.driver.attach(8, table)
    made.taken()
    return { ...made, table }
  }

  test('attach: one blast with the new TAR: table at 0x1040000, code 2 [calgary.blast.calgary, calgary.blast.calioc2, calgary.tar.size-code]', () => {
    const { rig, taken } = recorded(personality)
    rig.driver.enable()
    const table = rig.driver.createTable(27)
    taken()
    expect(rig.driver.attach(8, table)).toBe(0)
    expect(taken()).toEqual(blastOf(personality, '1040002'))
    // Where it is already, there is nothing to do; nor is there for a bus mate.
    expect([rig.driver.attach(8, table), rig.driver.attach(0x30, table), taken()]).toEqual([0, 0, []])
  })

  test('block: one with the empty table [calgary.isolation.bus]', () => {
    const { rig, taken } = start()
    expect(rig.driver.block(0x18)).toBe(0)
    expect(taken()).toEqual(blastOf(personality, '1000000'))
    expect([rig.driver.block(8), taken()]).toEqual([0, []])
  })

  test('however much is queued: one blast, of the bridges that are concerned [calgary.blast.batch]', () => {
    const { rig, taken, table } = start()
    const other = rig.driver.createTable(27)
    rig.map(table, 0, DATA, 100)
    rig.clear(table, 0, 100)
    for (let i = 0; i < 100; i++) rig.queue(table, i * 4096, 1)
    rig.driver.queueTableInvalidation(other)
    taken()
    expect(rig.driver.completeInvalidations()).toBe(0)
    expect(taken()).toEqual(blastOf(personality, '1040002'))
    expect([rig.driver.completeInvalidations(), taken()]).toEqual([0, []])
  })

  test('a bus that does not get quiet: 100 reads of the queue, then TAR all the same; timedOut, and once more the next time [calgary.blast.tries]', () => {
    let busy = false
    const reads: number[] = []
    const wrap = (port: DriverPort) =>
      changed(port, {
        read32(address) {
          const value = port.read32(address)
          if (address !== CALGARY_BASE + 0x4870 || !busy) return value
          reads.push(address)
          return 0xfffffffe
        },
      })
    const rig = new DriverRig(calgaryUnit(personality), { wrap })
    const { device, table } = rig.start(27)
    rig.map(table, 0, DATA, 1)
    device.put(0, 1n)
    busy = true
    expect(rig.unmap(table, 0, 1)).toBe(DriverStatus.timedOut)
    expect([reads.length, device.put(0, 2n)]).toEqual([100, -1])
    expect(rig.driver.completeInvalidations()).toBe(DriverStatus.timedOut)
    busy = false
    expect(rig.driver.completeInvalidations()).toBe(0)
    // The bus goes on.
    rig.map(table, 0, DATA, 1)
    expect(device.put(0, 3n)).toBe(2)
  })
})

describe('SoftStopFault [calgary.blast.restart, calgary.pmr.soft-stop-fault]', () => {
  const faulty = (times: number) => {
    const { rig, taken } = recorded(calioc2)
    const { device, table } = rig.start(27)
    rig.map(table, 0, DATA, 1)
    device.put(0, 1n)
    ;(rig.machine.pci.translator as CalgaryHardware).bridges[0]!.softStopFaults = times
    taken()
    return { device, status: rig.unmap(table, 0, 1), steps: taken(), rig }
  }

  test('again from the beginning, until it works', () => {
    const { device, status, steps } = faulty(3)
    expect([status, device.put(0, 1n)]).toEqual([0, -1])
    expect(steps.filter((step) => step === '8da8=80000000')).toHaveLength(4)
    expect(steps.filter((step) => step.startsWith('584='))).toHaveLength(1)
  })

  test('99 times at most: timedOut, TAR is written, the bus goes on', () => {
    const { device, status, steps, rig } = faulty(150)
    expect([status, device.put(0, 1n)]).toEqual([DriverStatus.timedOut, -1])
    expect(steps.filter((step) => step === '8da8=80000000')).toHaveLength(99)
    expect(steps.slice(-5)).toEqual(['580=0', '584=1040002', 'read 8da8', '8da8=0', 'read 8da8'])
    expect(rig.driver.completeInvalidations()).toBe(0)
  })
})

describe('entries', () => {
  test('each stored and its line flushed, big-endian: real page and rights [calgary.tce.not-coherent, calgary.tce.format]', () => {
    const { rig, taken } = recorded()
    const { table } = rig.start(27)
    taken()
    rig.map(table, 0xff000, 0x123456, 2)
    // 00 00 00 01 23 45 60 03 and …70 03 at entries 0x10ff and 0x1100 of the table at frame 0x1040.
    expect(taken()).toEqual([
      'store 1048 255 1000000:3604523',
      'flush 1048 255',
      'store 1048 256 1000000:3704523',
      'flush 1048 256',
    ])
    rig.clear(table, 0xff000, 2)
    expect(taken()).toEqual(['store 1048 255 0:0', 'flush 1048 255', 'store 1048 256 0:0', 'flush 1048 256'])
  })

  test('read alone, or both; write alone is not offered [calgary.tce.read-always]', () => {
    const { rig, taken } = recorded()
    const { table } = rig.start(27)
    taken()
    expect([rig.map(table, 0, DATA, 1, 2), taken()]).toEqual([DriverStatus.unsupported, []])
    expect([rig.map(table, 0, DATA, 1, 1), taken()[0]]).toEqual([0, 'store 1048 0 0:1008000'])
    expect([rig.map(table, 0x1000, DATA, 1, 3), taken()[0]]).toEqual([0, 'store 1048 1 0:3008000'])
    expect([rig.accessOf(table, 0), rig.accessOf(table, 0x1000), rig.frameOf(table, 0)]).toEqual([1, 3, DATA])
  })
})

describe.each([calgary, calioc2])('what each step is for: a port that skips it is not safe, $name', (personality) => {
  const unit = calgaryUnit(personality)
  const [queue, stop, start] = [
    CALGARY_BASE + 0x4870,
    CALGARY_BASE + (personality === calioc2 ? 0x8da8 : 0x8200),
    CALGARY_BASE + 0x580,
  ]

  test('all of them: the second owner keeps its data', () => {
    expect(secondOwner(unit)).toEqual({ mapped: 2, late: -1, data: 0x600dn })
  })

  test('without waiting for the split queue: a write that was on its way lands in the second owner’s data [calgary.blast.drain]', () => {
    const hasty = (port: DriverPort) =>
      changed(port, { read32: (address) => ([queue, queue + 4].includes(address) ? 0xffffffff : port.read32(address)) })
    expect(secondOwner(unit, hasty)).toEqual({ mapped: 2, late: -1, data: 0xbadn })
  })

  test('without the TAR write: the device still reaches the frame [calgary.cache.stale]', () => {
    let on = false
    const lazy = (port: DriverPort) =>
      changed(port, {
        write32(address, value) {
          if (!on || ![start, start + 4].includes(address)) port.write32(address, value)
        },
        // From the first mapping on.
        publish64(mfn, index, hi, lo) {
          on = true
          port.publish64(mfn, index, hi, lo)
        },
      })
    expect(secondOwner(unit, lazy)).toMatchObject({ mapped: 2, late: 2 })
  })

  test('without reading back in the end: the device still reaches the frame [calgary.registers.posted]', () => {
    let released = false
    const careless = (port: DriverPort) =>
      changed(port, {
        write32(address, value) {
          // From TAR to the next stop nothing is read back.
          if (address === start + 4 || address === stop)
            released = address !== stop || value === (personality === calioc2 ? 0 : -1)
          port.write32(address, value)
        },
        read32: (address) =>
          address === stop && released ? (personality === calioc2 ? 0 : 0xffffffff) : port.read32(address),
      })
    expect(secondOwner(unit, careless)).toMatchObject({ mapped: 2, late: 2 })
  })

  test('without the flush: the chip does not see the entry [calgary.tce.not-coherent]', () => {
    const unflushed = (port: DriverPort) =>
      changed(port, { publish64: (mfn, index, hi, lo) => port.store64(mfn, index, hi, lo) })
    expect(secondOwner(unit, unflushed)).toMatchObject({ mapped: -1 })
  })
})
