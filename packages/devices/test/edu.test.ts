import { Capability, Command, Config, Count, type Machine, Msi } from '@iospace/machine'
import { describe, expect, test } from 'vitest'
import { EDU_BOARD_BYTES, EduDevice, type EduOptions } from '../src/index.ts'
import { fc } from './property.ts'
import { board, Gate } from './rig.ts'

/** Numbers typed from QEMU's docs/specs/edu; the driver of these tests knows nothing else of the device. */
const BDF = 0x18
const VECTOR = 0x71

class Edu {
  readonly machine: Machine = board()
  readonly gate = new Gate(this.machine)
  readonly device: EduDevice
  readonly bar: number

  constructor(options: Omit<EduOptions, 'machine'> = {}) {
    this.device = new EduDevice({ machine: this.machine, ...options })
    const { pci } = this.machine
    pci.add(0, BDF, this.device)
    this.bar = pci.barAddress(this.device, 0)
    pci.configWrite(BDF, Config.command, 2, Command.memory | Command.busMaster)
  }

  read(offset: number): number {
    return this.machine.mmio.read32(this.bar + offset)
  }
  write(offset: number, value: number): void {
    this.machine.mmio.write32(this.bar + offset, value)
  }
  read64(offset: number): bigint {
    return this.machine.mmio.read64(this.bar + offset)
  }
  write64(offset: number, value: bigint): void {
    this.machine.mmio.write64(this.bar + offset, value)
  }

  /** The MSI on, with {@link VECTOR}. */
  message(): void {
    const { pci } = this.machine
    const at = this.device.config.findCapability(Capability.msi)
    pci.configWrite(BDF, at + Msi.address, 4, 0xfee0_0000)
    pci.configWrite(BDF, at + Msi.data, 2, VECTOR)
    pci.configWrite(BDF, at + Msi.control, 2, Msi.enable)
  }
  get messages(): number {
    return this.machine.interrupts.received[VECTOR]!
  }

  start(source: bigint, destination: bigint, count: bigint, command: number): void {
    this.write64(0x80, source)
    this.write64(0x88, destination)
    this.write64(0x90, count)
    this.write(0x98, command)
  }
  /** As `start`, until it is done. */
  transfer(source: bigint, destination: bigint, count: bigint, command: number): void {
    this.start(source, destination, count, command)
    while ((this.read(0x98) & 1) !== 0) this.machine.clock.advance()
  }

  ram(address: number, length: number): Uint8Array {
    return this.machine.memory.bytes.slice(address, address + length)
  }
  fill(address: number, bytes: ArrayLike<number>): void {
    this.machine.memory.bytes.set(bytes, address)
  }
}

const pattern = (length: number, seed = 1) => Uint8Array.from({ length }, (_, i) => i * 13 + seed)

describe('the function', () => {
  test('1234:11e8 revision 10h, class FF00h, one BAR of 1 MiB, an MSI of one vector', () => {
    const { machine, device } = new Edu()
    expect(machine.pci.configRead(BDF, 0x00, 4)).toBe(0x11e8_1234)
    expect(machine.pci.configRead(BDF, 0x08, 4)).toBe(0x00ff_0010)
    machine.pci.configWrite(BDF, Config.bar0, 4, 0xffff_ffff)
    expect(machine.pci.configRead(BDF, Config.bar0, 4)).toBe(0xfff0_0000)
    expect(device.config.findCapability(Capability.msi)).toBeGreaterThan(0)
    expect(device.config.findCapability(Capability.pciExpress)).toBe(0)
  })

  test('it takes the board memory that it says', () => {
    const machine = board()
    const before = machine.memory.boardMemory(0)
    machine.pci.add(0, BDF, new EduDevice({ machine }))
    expect(machine.memory.boardMemory(0) - before).toBe(EDU_BOARD_BYTES)
  })
})

describe('registers below 0x80', () => {
  test('identification; liveness is the complement of what was written', () => {
    const edu = new Edu()
    expect([edu.read(0x00), edu.read(0x04)]).toEqual([0x0100_00ed, 0])
    edu.write(0x04, 0x1234_5678)
    expect(edu.read(0x04)).toBe(0xedcb_a987)
    edu.write(0x00, 0)
    expect(edu.read(0x00)).toBe(0x0100_00ed)
  })

  test('accesses of 8 bytes read all ones and write nothing; so does what is no register, the buffer included', () => {
    const edu = new Edu()
    edu.write64(0x00, 5n)
    edu.write64(0x04, 5n)
    expect([edu.read64(0x00), edu.read64(0x08), edu.read64(0x20)]).toEqual(Array(3).fill(0xffff_ffff_ffff_ffffn))
    expect(edu.read(0x04)).toBe(0)
    for (const offset of [0x0c, 0x60, 0x64, 0x84, 0xa0, 0x4_0000, 0xf_fffc]) {
      edu.write(offset, offset === 0x60 ? 0 : 0x55)
      expect(edu.read(offset)).toBe(0xffff_ffff)
    }
    expect(edu.read64(0x4_0000)).toBe(0xffff_ffff_ffff_ffffn)
  })

  test.each([
    [0, 1],
    [1, 1],
    [5, 120],
    [12, 479001600],
    [13, 0x7328_cc00],
    [33, 0x8000_0000],
    [34, 0],
    [0xffff_ffff, 0],
  ])('factorial of %i, in 32 bits: %i, when status bit 0 is clear again', (value, product) => {
    const edu = new Edu()
    edu.write(0x08, value)
    expect(edu.read(0x20)).toBe(1)
    // Not while it computes.
    edu.write(0x08, 3)
    edu.machine.clock.advance()
    expect([edu.read(0x20), edu.read(0x08)]).toEqual([0, product])
    edu.write(0x08, 4)
    edu.machine.clock.advance()
    expect(edu.read(0x08)).toBe(24)
  })

  test('status bit 7: an interrupt 001h when it is done; bit 0 is read-only', () => {
    const edu = new Edu()
    edu.message()
    edu.write(0x20, 0xffff_ffff)
    expect(edu.read(0x20)).toBe(0x80)
    edu.write(0x08, 3)
    expect(edu.read(0x20)).toBe(0x81)
    edu.machine.clock.advance()
    expect([edu.read(0x20), edu.read(0x24), edu.messages]).toEqual([0x80, 0x001, 1])
    edu.write(0x20, 0)
    edu.write(0x08, 3)
    edu.machine.clock.advance()
    expect([edu.read(0x20), edu.messages]).toEqual([0, 1])
  })

  test('bit 7 cleared while it computes: no interrupt', () => {
    const edu = new Edu()
    edu.message()
    edu.write(0x20, 0x80)
    edu.write(0x08, 3)
    edu.write(0x20, 0)
    expect(edu.read(0x20)).toBe(1)
    edu.machine.clock.advance()
    expect([edu.read(0x24), edu.messages]).toEqual([0, 0])
  })
})

describe('interrupts', () => {
  test('raise ORs into the status and sends a message, each time; acknowledge clears bits', () => {
    const edu = new Edu()
    edu.message()
    edu.write(0x60, 0x8000_0010)
    edu.write(0x60, 0x3)
    expect([edu.read(0x24), edu.messages]).toEqual([0x8000_0013, 2])
    edu.write(0x60, 0)
    expect(edu.messages).toBe(3)
    edu.write(0x64, 0x8000_0001)
    expect(edu.read(0x24)).toBe(0x12)
    edu.write(0x64, 0xffff_ffff)
    edu.write(0x60, 0)
    expect([edu.read(0x24), edu.messages]).toEqual([0, 3])
    edu.write(0x24, 0xff)
    expect(edu.read(0x24)).toBe(0)
  })

  test('without MSI there is the status only', () => {
    const edu = new Edu()
    edu.write(0x60, 0x10)
    expect([edu.read(0x24), edu.messages, edu.gate.log]).toEqual([0x10, 0, []])
  })
})

describe('DMA', () => {
  test('from RAM to the buffer and from there to RAM, 100 ms of virtual time each', () => {
    const edu = new Edu()
    edu.fill(0x1_0123, pattern(1000))
    const before = edu.machine.clock.now
    edu.start(0x1_0123n, 0x4_0010n, 1000n, 1)
    expect(edu.read(0x98)).toBe(1)
    while ((edu.read(0x98) & 1) !== 0) edu.machine.clock.advance()
    expect(edu.machine.clock.now - before).toBeGreaterThan(100e6)
    edu.transfer(0x4_0010n, 0x2_0456n, 1000n, 3)
    expect([edu.ram(0x2_0456, 1000), edu.read(0x98)]).toEqual([pattern(1000), 2])
  })

  test('the whole buffer, across a page of RAM', () => {
    const edu = new Edu({ dmaTime: 0 })
    edu.fill(0x1_0800, pattern(4096))
    edu.transfer(0x1_0800n, 0x4_0000n, 4096n, 1)
    edu.transfer(0x4_0000n, 0x3_0001n, 4096n, 3)
    expect(edu.ram(0x3_0001, 4096)).toEqual(pattern(4096))
    expect(edu.gate.log).toEqual(['r10800+2048', 'r11000+2048', 'w30001+4095', 'w31000+1'])
  })

  test('with a time of 0 it is done when the write of its command returns', () => {
    const edu = new Edu({ dmaTime: 0 })
    edu.fill(0x1_0000, [1, 2, 3])
    edu.start(0x1_0000n, 0x4_0000n, 3n, 1)
    edu.start(0x4_0000n, 0x2_0000n, 3n, 3)
    expect(edu.ram(0x2_0000, 3)).toEqual(Uint8Array.of(1, 2, 3))
  })

  test('registers read back, as 8 bytes and as 4; 4 written bytes clear the upper ones', () => {
    const edu = new Edu()
    edu.write64(0x80, 0x1122_3344_5566_7788n)
    edu.write64(0x88, 0x99aa_bbcc_ddee_ff00n)
    edu.write64(0x90, 0x1_0000_0001n)
    expect([edu.read64(0x80), edu.read64(0x88), edu.read64(0x90), edu.read64(0x98)]).toEqual([
      0x1122_3344_5566_7788n,
      0x99aa_bbcc_ddee_ff00n,
      0x1_0000_0001n,
      0n,
    ])
    expect([edu.read(0x80), edu.read(0x84)]).toEqual([0x5566_7788, 0xffff_ffff])
    edu.write(0x84, 0x77)
    edu.write(0x80, 0xffff_ffff)
    expect(edu.read64(0x80)).toBe(0xffff_ffffn)
  })

  test('while a transfer runs nothing of it can be written; a command without bit 0 is not written at all', () => {
    const edu = new Edu()
    edu.write(0x98, 6)
    expect(edu.read(0x98)).toBe(0)
    edu.fill(0x1_0000, [9])
    edu.start(0x1_0000n, 0x4_0000n, 1n, 1)
    edu.start(0x1_1000n, 0x4_0100n, 7n, 3)
    expect([edu.read64(0x80), edu.read64(0x88), edu.read64(0x90), edu.read(0x98)]).toEqual([
      0x1_0000n,
      0x4_0000n,
      1n,
      1,
    ])
    edu.machine.clock.advance()
    expect(edu.read(0x98)).toBe(0)
    edu.transfer(0x4_0000n, 0x2_0000n, 1n, 3)
    expect(edu.ram(0x2_0000, 1)).toEqual(Uint8Array.of(9))
  })

  test('command bit 2: an interrupt 100h when it is done', () => {
    const edu = new Edu()
    edu.message()
    edu.start(0x1_0000n, 0x4_0000n, 4n, 5)
    expect([edu.read(0x24), edu.messages]).toEqual([0, 0])
    edu.machine.clock.advance()
    expect([edu.read(0x24), edu.messages, edu.read(0x98)]).toEqual([0x100, 1, 4])
    edu.transfer(0x1_0000n, 0x4_0000n, 4n, 1)
    expect(edu.messages).toBe(1)
  })

  test.each([
    ['behind the end', 0x4_0000n, 4097n],
    ['behind the end by one', 0x4_0fffn, 2n],
    ['before the start', 0x3_ffffn, 2n],
    ['elsewhere', 0n, 1n],
    ['far above', 0xffff_ffff_ffff_fff0n, 4n],
    ['with a sum that wraps', 0x4_0000n, 0xffff_ffff_ffff_ffffn],
  ])('a transfer that leaves the buffer moves nothing, and ends: %s', (_name, there, count) => {
    const edu = new Edu({ dmaTime: 0 })
    edu.message()
    edu.fill(0x1_0000, pattern(8))
    edu.transfer(0x1_0000n, there, count, 1)
    edu.transfer(there, 0x1_0000n, count, 7)
    expect([edu.gate.log.filter((line) => !line.includes('fee')), edu.read(0x98)]).toEqual([[], 6])
    expect([edu.ram(0x1_0000, 8), edu.read(0x24), edu.messages]).toEqual([pattern(8), 0x100, 1])
  })

  test('no bytes, at the very end of the buffer: allowed, nothing moved', () => {
    const edu = new Edu({ dmaTime: 0 })
    edu.transfer(0x1_0000n, 0x4_1000n, 0n, 1)
    expect([edu.gate.log, edu.read(0x98)]).toEqual([[], 0])
  })

  test('the mask cuts addresses off: 28 bits, or what the board says', () => {
    const edu = new Edu({ dmaTime: 0 })
    edu.fill(0x2_0000, [7])
    edu.transfer(0xffff_ffff_f002_0000n, 0x4_0000n, 1n, 1)
    edu.transfer(0x4_0000n, 0x1234_5000_0003_0000n, 1n, 3)
    expect([edu.ram(0x3_0000, 1), edu.gate.log]).toEqual([Uint8Array.of(7), ['r20000+1', 'w30000+1']])
    const wide = new Edu({ dmaTime: 0, dmaMask: 2n ** 64n - 1n })
    wide.transfer(0x1234_5678_9000_0000n, 0x4_0000n, 1n, 1)
    wide.transfer(0x4_0000n, 0x1_0000_0000n, 1n, 3)
    expect(wide.gate.log).toEqual(['r1234567890000000+1', 'w100000000+1'])
  })

  test('addresses go round at 2^64', () => {
    const edu = new Edu({ dmaTime: 0, dmaMask: 2n ** 64n - 1n })
    edu.transfer(0x4_0000n, 0xffff_ffff_ffff_fffen, 4n, 3)
    expect(edu.gate.log[1]).toBe('w0+2')
  })

  test('what cannot be read is zeros, what cannot be written is lost, page by page; the device says nothing of it', () => {
    const edu = new Edu({ dmaTime: 0 })
    edu.gate.block(0x1_1000)
    edu.fill(0x1_0000, pattern(0x3000))
    edu.transfer(0x1_0f00n, 0x4_0000n, 0x900n, 1)
    edu.transfer(0x1_1f00n, 0x4_0900n, 0x200n, 1)
    edu.transfer(0x4_0000n, 0x2_0000n, 0xb00n, 3)
    const expected = pattern(0x3000)
    const seen = edu.ram(0x2_0000, 0xb00)
    expect(seen.subarray(0, 0x100)).toEqual(expected.subarray(0xf00, 0x1000))
    expect(seen.subarray(0x100, 0xa00)).toEqual(new Uint8Array(0x900))
    expect(seen.subarray(0xa00)).toEqual(expected.subarray(0x2000, 0x2100))
    edu.gate.block(0x3_1000)
    edu.transfer(0x4_0000n, 0x3_0f00n, 0x200n, 3)
    expect([edu.ram(0x3_0f00, 0x100), edu.ram(0x3_1000, 0x100)]).toEqual([seen.slice(0, 0x100), new Uint8Array(0x100)])
  })

  test('without bus mastering it reads zeros and writes nothing', () => {
    const edu = new Edu({ dmaTime: 0 })
    edu.fill(0x1_0000, [5])
    edu.transfer(0x1_0000n, 0x4_0000n, 1n, 1)
    edu.machine.pci.configWrite(BDF, Config.command, 2, Command.memory)
    edu.transfer(0x4_0000n, 0x2_0000n, 1n, 3)
    edu.transfer(0x1_0000n, 0x4_0000n, 1n, 1)
    edu.machine.pci.configWrite(BDF, Config.command, 2, Command.memory | Command.busMaster)
    edu.fill(0x3_0000, [1])
    edu.transfer(0x4_0000n, 0x3_0000n, 1n, 3)
    expect([edu.ram(0x2_0000, 1), edu.ram(0x3_0000, 1)]).toEqual([Uint8Array.of(0), Uint8Array.of(0)])
  })

  test('any sequence of transfers does what copies between two arrays do', () => {
    const step = fc.record({
      write: fc.boolean(),
      page: fc.nat(3),
      offset: fc.nat(4095),
      at: fc.nat(4200),
      count: fc.nat(4200),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const edu = new Edu({ dmaTime: 0 })
        const ram = pattern(0x8000, 3)
        const buffer = new Uint8Array(4096)
        edu.fill(0x1_0000, ram)
        for (const { write, page, offset, at, count } of steps) {
          const address = 0x1_0000 + page * 4096 + offset
          const inside = BigInt(0x4_0000 + at)
          if (write) edu.transfer(inside, BigInt(address), BigInt(count), 3)
          else edu.transfer(BigInt(address), inside, BigInt(count), 1)
          if (at + count > 4096) continue
          const from = address - 0x1_0000
          if (write) ram.set(buffer.subarray(at, at + count), from)
          else buffer.set(ram.subarray(from, from + count), at)
        }
        expect(edu.ram(0x1_0000, ram.length)).toEqual(ram)
      }),
    )
  })
})

describe('reset', () => {
  test('registers and buffer are as at power-on, what was under way never ends', () => {
    const edu = new Edu()
    edu.fill(0x1_0000, pattern(64))
    edu.transfer(0x1_0000n, 0x4_0000n, 64n, 1)
    edu.write(0x04, 1)
    edu.write(0x20, 0x80)
    edu.write(0x60, 0x55)
    edu.write(0x08, 6)
    edu.start(0x4_0000n, 0x2_0000n, 64n, 7)
    edu.device.reset()
    expect(edu.machine.clock.advance()).toBe(false)
    expect(edu.ram(0x2_0000, 64)).toEqual(new Uint8Array(64))
    edu.machine.pci.configWrite(BDF, Config.bar0, 4, edu.bar)
    edu.machine.pci.configWrite(BDF, Config.command, 2, Command.memory | Command.busMaster)
    expect([0x04, 0x08, 0x20, 0x24, 0x80, 0x88, 0x90, 0x98].map((offset) => edu.read(offset))).toEqual(Array(8).fill(0))
    edu.fill(0x3_0000, pattern(64))
    edu.transfer(0x4_0000n, 0x3_0000n, 64n, 3)
    expect(edu.ram(0x3_0000, 64)).toEqual(new Uint8Array(64))
    expect(edu.machine.clock.counts[Count.interruptMessage]).toBe(0)
  })
})
