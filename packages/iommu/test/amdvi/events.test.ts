import { describe, expect, test } from 'vitest'
import { amdviPersonalities } from '../../src/hardware.ts'
import { Board, EVENTS, IOVA, L1, L4, PAGE_A, RW } from './board.ts'

/** The event log (facts B.6): ring, overflow, restart, suppression, interrupt. Words typed from the facts: dw1:dw0, dw3:dw2. */
const NOT_PRESENT = '2000000100000008 0000000000200000'

function board(entry = RW | 0x803n, quadword1 = 1n, control = 0): Board {
  const made = new Board()
  made.entry(8, BigInt(L4) | entry, quadword1)
  made.tables(0n)
  made.turnOn({ control })
  return made
}

describe('entries', () => {
  test('flags of page faults that real systems logged: 0x0070, 0x0020, 0x0000, 0x0050 (B.6) [amdvi.event.page-fault]', () => {
    const made = board()
    const device = made.device()
    device.read(IOVA, 8)
    device.put(IOVA, 1n)
    made.store(L1, BigInt(PAGE_A) | 0x4000000000000001n)
    device.read(IOVA, 8)
    made.store(L1, BigInt(PAGE_A) | 0x2000000000000001n)
    made.invalidate()
    device.put(IOVA, 1n)
    expect(made.events()).toEqual([
      '2000000100000008 0000000000200000',
      '2020000100000008 0000000000200000',
      '2050000100000008 0000000000200000',
      '2070000100000008 0000000000200000',
    ])
  })

  test('the domain is that of the entry, the address the full one; a 16-bit requester [amdvi.event.layout, amdvi.event.page-fault]', () => {
    const made = new Board()
    const bus = made.machine.pci.addBridge(0, 0xf8, 'root-port')
    made.machine.pci.configWrite(0xf8, 4, 2, 4)
    made.entry((bus << 8) | 0x21, BigInt(L4) | RW | 0xc03n, 0xabcdn)
    made.turnOn({ pages: 4 })
    made.device(0x21, bus).read(0x8765_4321_0abc_def7n, 1)
    expect(made.events()).toEqual(['2000abcd00000121 876543210abcdef7'])
  })

  test('each is written before the tail moves; nothing is written before the head [amdvi.event.layout]', () => {
    const made = board()
    made.device().read(IOVA, 8)
    expect([made.read(0x2010), made.read(0x2018)]).toEqual([0, 16])
    expect([made.load(EVENTS), made.load(EVENTS + 8), made.load(EVENTS + 16)]).toEqual([
      0x2000000100000008n,
      0x200000n,
      0n,
    ])
  })

  test('Status: EventLogInt is set by an entry, and cleared by writing 1 (bit 1) [amdvi.register.status]', () => {
    const made = board()
    expect(made.read(0x2020)).toBe(0x18)
    made.device().read(IOVA, 8)
    expect(made.read(0x2020)).toBe(0x1a)
    made.write(0x2020, 0x18)
    expect(made.read(0x2020)).toBe(0x1a)
    made.write(0x2020, 2)
    expect(made.read(0x2020)).toBe(0x18)
  })

  test('with EventLogEn = 0 nothing is written, the access is blocked all the same [amdvi.event.enable]', () => {
    const made = board()
    made.write(0x18, 0x1401)
    expect([made.device().read(IOVA, 8), made.read(0x2018), made.load(EVENTS), made.read(0x2020)]).toEqual([
      -1,
      0,
      0n,
      0x10,
    ])
  })

  test('a log at 4 GiB of 512 entries [amdvi.event.ring, amdvi.register.event-log]', () => {
    const made = new Board()
    made.entry(8, BigInt(L4) | RW | 0x803n, 1n)
    made.write64(0x00, 0x10000n)
    made.write64(0x10, 0x0900000100000000n)
    made.write64(0x18, 0x5n)
    const device = made.device()
    for (let i = 0; i < 300; i++) device.read(i * 4096, 8)
    expect(made.read(0x2018)).toBe(300 * 16)
    expect([made.load(2 ** 32 + 299 * 16), made.load(2 ** 32 + 299 * 16 + 8)]).toEqual([
      0x2000000100000008n,
      BigInt(299 * 4096),
    ])
  })
})

describe('overflow (B.6)', () => {
  const full = (control = 0) => {
    const made = board(undefined, undefined, control)
    const device = made.device()
    for (let i = 0; i < 255; i++) device.read(IOVA, 8)
    return { made, device }
  }

  test('255 of 256 entries fit; the next sets EventOverflow, stops the log, and is lost [amdvi.event.overflow, amdvi.register.status]', () => {
    const { made, device } = full()
    expect([made.read(0x2018), made.read(0x2020)]).toEqual([255 * 16, 0x1a])
    device.read(IOVA, 8)
    expect([made.read(0x2018), made.read(0x2020)]).toEqual([255 * 16, 0x13])
    expect(made.load(EVENTS + 255 * 16)).toBe(0n)
  })

  test('nothing is logged until the log is restarted, though there is room [amdvi.event.overflow]', () => {
    const { made, device } = full()
    device.read(IOVA, 8)
    expect(made.events()).toHaveLength(255)
    device.read(IOVA, 8)
    expect(made.events()).toEqual([])
    // Clearing the bit alone is not a restart (48882: until software resets the event logging function).
    made.write(0x2020, 1)
    device.read(IOVA, 8)
    expect([made.events(), made.read(0x2020) & 9]).toEqual([[], 0])
  })

  test('restart: EventLogEn off, EventOverflow cleared, head = tail = 0, EventLogEn on [amdvi.event.restart]', () => {
    const { made, device } = full()
    device.read(IOVA, 8)
    made.write(0x18, 0x1401)
    made.write(0x2020, 1)
    made.write(0x2010, 0)
    made.write(0x2018, 0)
    made.write(0x18, 0x1405)
    expect(made.read(0x2020) & 9).toBe(8)
    device.read(IOVA, 8)
    expect(made.events()).toEqual([NOT_PRESENT])
  })

  test('EventLogEn on again with the bit still set does not start it [amdvi.event.restart]', () => {
    const { made, device } = full()
    device.read(IOVA, 8)
    made.write(0x18, 0x1401)
    made.write(0x18, 0x1405)
    expect(made.read(0x2020) & 9).toBe(1)
  })

  test('the ring wraps to 0 when software keeps up [amdvi.event.ring]', () => {
    const { made, device } = full()
    expect(made.events()).toHaveLength(255)
    for (let i = 0; i < 3; i++) device.read(IOVA, 8)
    expect(made.read(0x2018)).toBe(2 * 16)
    expect(made.events()).toEqual([NOT_PRESENT, NOT_PRESENT, NOT_PRESENT])
  })
})

describe('suppression (B.3 SE, SA; B.6)', () => {
  const SE = 0x2_0000_0000n
  const SA = 0x4_0000_0000n

  test('SA: page faults are blocked and not logged [amdvi.event.suppress-all]', () => {
    const made = board(undefined, 1n | SA)
    const device = made.device()
    expect([device.read(IOVA, 8), device.put(IOVA, 1n), made.events()]).toEqual([-1, -1, []])
  })

  test('SE: the first is logged, later ones not, until INVALIDATE_DEVTAB_ENTRY [amdvi.event.suppress-further, amdvi.command.device]', () => {
    const made = board(undefined, 1n | SE)
    const device = made.device()
    for (let i = 0; i < 3; i++) expect(device.read(IOVA + i * 0x200000, 8)).toBe(-1)
    expect(made.events()).toEqual([NOT_PRESENT])
    made.invalidateDevice(16)
    device.read(IOVA, 8)
    expect(made.events()).toEqual([])
    made.invalidateDevice(8)
    device.read(IOVA, 8)
    device.read(IOVA, 8)
    expect(made.events()).toEqual([NOT_PRESENT])
    // INVALIDATE_IOMMU_ALL is one of every entry.
    made.command(0, 0x80000000)
    device.read(IOVA, 8)
    expect(made.events()).toEqual([NOT_PRESENT])
  })

  test('SE is per requester, and holds though the entry left its cache [amdvi.event.suppress-further]', () => {
    const made = new Board({ personality: { ...amdviPersonalities.hats6, devices: { sets: 1, ways: 1 } } })
    for (const requester of [8, 16]) made.entry(requester, BigInt(L4) | RW | 0x803n, 1n | SE)
    made.turnOn()
    const [first, second] = [made.device(8), made.device(16)]
    for (let i = 0; i < 3; i++) {
      first.read(IOVA, 8)
      second.read(IOVA, 8)
    }
    expect(made.events()).toEqual(['2000000100000008 0000000000200000', '2000000100000010 0000000000200000'])
  })

  test('neither concerns ILLEGAL_DEV_TABLE_ENTRY [amdvi.event.suppress-scope]', () => {
    const made = board(RW | 0x807n, 1n | SA | SE)
    const device = made.device()
    device.read(IOVA, 8)
    device.read(IOVA, 8)
    expect(made.events()).toEqual(['1080000000000008 0000000000200000', '1080000000000008 0000000000200000'])
  })

  test('a fault of the entry itself heeds them too: TV = 0 [amdvi.event.suppress-all]', () => {
    const made = board(1n, 1n | SA)
    expect([made.device().read(IOVA, 8), made.events()]).toEqual([-1, []])
  })
})

describe('the unit’s own interrupt (B.2, B.6) [amdvi.event.interrupt]', () => {
  const VECTOR = 0x61
  const armed = (control: number) => {
    const made = board(undefined, undefined, control)
    made.write(0x15c, 0xfee00000)
    made.write(0x164, VECTOR)
    made.write(0x158, 0x10000)
    return { made, device: made.device(), received: () => made.machine.interrupts.received[VECTOR] }
  }

  test('with EventIntEn, EventLogInt sends the message once, until it is cleared', () => {
    const { made, device, received } = armed(0x8)
    device.read(IOVA, 8)
    device.read(IOVA, 8)
    expect(received()).toBe(1)
    made.write(0x2020, 2)
    device.read(IOVA, 8)
    expect(received()).toBe(2)
  })

  test('without EventIntEn none; switched on with the bit set, one', () => {
    const { made, device, received } = armed(0)
    device.read(IOVA, 8)
    expect(received()).toBe(0)
    made.write(0x18, 0x140d)
    expect(received()).toBe(1)
  })

  test('EventOverflow sends one too', () => {
    const { made, device, received } = armed(0x8)
    for (let i = 0; i < 255; i++) device.read(IOVA, 8)
    expect(received()).toBe(1)
    device.read(IOVA, 8)
    expect(received()).toBe(2)
    made.write(0x2020, 3)
  })

  test('with MSI disabled none is sent; a message to memory is a store', () => {
    const { made, device, received } = armed(0x8)
    made.write(0x158, 0)
    device.read(IOVA, 8)
    expect(received()).toBe(0)
    made.write(0x2020, 2)
    made.write(0x15c, PAGE_A + 4)
    made.write(0x158, 0x10000)
    device.read(IOVA, 8)
    expect([made.load(PAGE_A), received()]).toEqual([BigInt(VECTOR) << 32n, 0])
    made.write(0x15c, 0xf0000000)
    made.write(0x2020, 2)
    expect(() => device.read(IOVA, 8)).not.toThrow()
  })
})
