import { describe, expect, test } from 'vitest'
import type { Machine } from '@iospace/machine'
import { type DriverPort, DriverStatus, MachinePort, type MachinePortOptions, VtdDriver } from '../../src/driver.ts'
import { VTD_BASE, type VtdHardware, vtdPersonalities } from '../../src/hardware.ts'
import { Board, IOVA, PAGE_A } from './board.ts'
import { custom } from './personality.ts'
import { changed } from './rig.ts'

/**
 * A chipset that holds stores back in a write buffer in front of memory (RWBF; VT-d specification 6.8): a unit sees stores to its tables
 * only after a flush by WBF, or by an invalidation, or when the buffer needs the room.
 */
const { 'sandybridge-ep': silicon } = vtdPersonalities
const personality = custom(silicon, { capLow: silicon.capLow | 0x10 })

/** Stores stay in the buffer whatever the CPU's cache does; the queue of descriptors and what the unit writes are not held back. */
class BufferedPort extends MachinePort {
  readonly #machine: Machine

  constructor(machine: Machine, options: Omit<MachinePortOptions, 'coherent'>) {
    super(machine, { ...options, coherent: false })
    this.#machine = machine
  }

  override flushLine(): void {
    this.#machine.clock.charge(6)
  }

  override publish64(mfn: number, index: number, hi: number, lo: number): void {
    this.store64(mfn, index, hi, lo)
  }

  drain(): void {
    this.coherent = true
    this.coherent = false
  }
}

class Rig extends Board {
  readonly driver: VtdDriver
  readonly flushes: number[] = []
  broken = false
  /** Lets the write buffer run empty. */
  readonly drain: () => void

  constructor() {
    super({ personality, lowFrames: 4096, highFrames: 16 })
    const { memory, clock } = this.machine
    const free = Array.from({ length: 200 }, (_, i) => 500 - i)
    const port = new BufferedPort(this.machine, {
      allocatePage: () => {
        const mfn = free.pop()!
        memory.fill(memory.frameOffset(mfn), 0, 4096)
        return mfn
      },
      freePage: (mfn) => free.push(mfn),
    })
    this.drain = () => port.drain()
    const hardware: VtdHardware = this.unit
    hardware.onWriteBufferFlush = () => {
      this.flushes.push(clock.now)
      port.drain()
    }
    const wrapped: DriverPort = changed(port, {
      write32: (address, value) => {
        if (!this.broken || address !== VTD_BASE + 0x18 || (value & 0x08000000) === 0) port.write32(address, value)
        else port.write32(VTD_BASE + 0x18, (value & ~0x08000000) | 0)
      },
      // A command that never completes.
      read32: (address) =>
        this.broken && address === VTD_BASE + 0x1c ? port.read32(address) | 0x08000000 : port.read32(address),
    })
    this.driver = new VtdDriver(wrapped, { base: VTD_BASE, timeout: 100_000 })
  }

  start() {
    const { driver } = this
    expect(driver.enable()).toBe(0)
    const table = driver.createTable(48)
    expect(driver.attach(8, table)).toBe(0)
    return { table, device: this.device() }
  }
}

describe('when the unit flushes the write buffer [vtd.cache.write-buffer]', () => {
  function board(): { made: Board; flushes: () => number } {
    const made = new Board({ personality })
    let count = 0
    made.unit.onWriteBufferFlush = () => count++
    made.ordinary()
    made.turnOn()
    return { made, flushes: () => count }
  }

  test('at WBF, when it completes', () => {
    const { made, flushes } = board()
    made.write(0x18, 0xc8000000)
    expect(flushes()).toBe(0)
    made.until(0x1c, 0x08000000, 0)
    expect(flushes()).toBe(1)
  })

  test('before an invalidation by registers', () => {
    const { made, flushes } = board()
    made.write(0x2c, 0xa0000000)
    made.elapse(3000)
    expect(flushes()).toBe(1)
    made.write(0x20c, 0x90000000)
    made.elapse(3000)
    expect(flushes()).toBe(2)
  })

  test('before those of the queue, interrupt entries too', () => {
    const { made, flushes } = board()
    made.queueOn()
    for (const low of [0x11n, 0x12n, 0x4n]) made.invalidate(low)
    expect(flushes()).toBe(3)
  })

  test('a unit without RWBF does none of it', () => {
    const made = new Board({ personality: silicon })
    let count = 0
    made.unit.onWriteBufferFlush = () => count++
    made.queueOn()
    made.write(0x18, 0x0c000000)
    made.invalidate(0x12n)
    expect(count).toBe(0)
  })
})

describe('the driver [vtd.driver.map.write-buffer]', () => {
  test('a mapping is seen on return, of one page and of many', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    expect(device.get(IOVA)).toBe(-1n)
    expect(rig.driver.map(table, 0, IOVA, PAGE_A >>> 12, 1, 3)).toBe(0)
    expect(device.put(IOVA, 1n)).toBe(2)
    expect(rig.driver.map(table, 0, IOVA + 0x10000, PAGE_A >>> 12, 4, 3)).toBe(0)
    expect([0, 1, 2, 3].map((page) => device.put(IOVA + 0x10000 + page * 4096, 1n))).toEqual([2, 2, 2, 2])
  })

  test('unmapping needs no flush of its own: the invalidation does it', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.driver.map(table, 0, IOVA, PAGE_A >>> 12, 1, 3)
    device.put(IOVA, 1n)
    const before = rig.flushes.length
    rig.driver.unmap(table, 0, IOVA, 1)
    expect(rig.flushes.length).toBe(before)
    rig.driver.queueInvalidation(table, 0, IOVA, 1)
    expect(rig.driver.completeInvalidations()).toBe(0)
    expect([rig.flushes.length, device.put(IOVA, 2n)]).toEqual([before + 1, -1])
  })

  test('a driver that does not flush fails: the unit does not see the mapping', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.unit.onWriteBufferFlush = () => {}
    rig.driver.map(table, 0, IOVA, PAGE_A >>> 12, 1, 3)
    expect(device.put(IOVA, 1n)).toBe(-1)
  })

  test('a flush that does not end: timedOut, and nothing is mapped', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.broken = true
    expect(rig.driver.map(table, 0, IOVA, PAGE_A >>> 12, 1, 3)).toBe(DriverStatus.timedOut)
    expect(rig.driver.mapInterrupt(8, 0x41, { addressLow: 0, addressHigh: 0, data: 0 })).toBe(DriverStatus.timedOut)
    rig.broken = false
    expect([rig.driver.frameOf(table, 0, IOVA), device.put(IOVA, 1n)]).toEqual([-1, -1])
    expect(rig.driver.map(table, 0, IOVA, PAGE_A >>> 12, 1, 3)).toBe(0)
    expect(device.put(IOVA, 1n)).toBe(2)
  })

  test('what a device knows of a mapping that was not confirmed is gone with the next completed invalidation', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.broken = true
    // The buffer runs empty by itself, and the device is at it at once.
    let outcome = 0
    rig.machine.clock.after(50_000, () => {
      rig.drain()
      outcome = device.put(IOVA, 1n)
    })
    expect(rig.driver.map(table, 0, IOVA, PAGE_A >>> 12, 1, 3)).toBe(DriverStatus.timedOut)
    expect(outcome).toBe(2)
    rig.broken = false
    expect(rig.driver.completeInvalidations()).toBe(0)
    expect(device.put(IOVA, 2n)).toBe(-1)
  })

  test('after an attach that was not confirmed a block is one: the unit forgets the context from before, too [vtd.driver.context.order]', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.driver.map(table, 0, IOVA, PAGE_A >>> 12, 1, 3)
    expect(device.put(IOVA, 1n)).toBe(2)
    const other = rig.driver.createTable(48)
    rig.broken = true
    expect(rig.driver.attach(8, other)).toBe(DriverStatus.timedOut)
    rig.broken = false
    expect([rig.driver.block(8), device.put(IOVA, 2n)]).toEqual([0, -1])
  })

  test('enable, attach and block say so too', () => {
    const rig = new Rig()
    rig.broken = true
    expect(rig.driver.enable()).toBe(DriverStatus.timedOut)
    rig.broken = false
    const { table } = rig.start()
    rig.broken = true
    expect([rig.driver.block(8), rig.driver.attach(16, table)]).toEqual([DriverStatus.timedOut, DriverStatus.timedOut])
  })

  test('an interrupt entry is seen on return', () => {
    const rig = new Rig()
    const { device } = rig.start()
    const message = { addressLow: 0, addressHigh: 0, data: 0 }
    expect(rig.driver.mapInterrupt(8, 0x41, message)).toBeGreaterThanOrEqual(0)
    expect([device.message(message.data, message.addressLow >>> 0), rig.vectors()]).toEqual([1, [0x41]])
  })

  test('context entries too: attach flushes', () => {
    const rig = new Rig()
    rig.driver.enable()
    const before = rig.flushes.length
    rig.driver.attach(8, rig.driver.createTable(48))
    expect(rig.flushes.length).toBe(before + 1)
  })
})
