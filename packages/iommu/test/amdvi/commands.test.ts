import { describe, expect, test } from 'vitest'
import { amdviPersonalities } from '../../src/hardware.ts'
import { Board, COMMANDS, IOVA, L1, PAGE_A, PAGE_B, RW, STATUS } from './board.ts'

/** The command buffer (facts B.5): words typed from there. */

function board(personality = amdviPersonalities.hats6): Board {
  const made = new Board({ personality })
  made.ordinary()
  made.store(PAGE_A, 0xaan)
  made.store(PAGE_B, 0xbbn)
  made.turnOn()
  return made
}

/** Runs what was queued, to the end or to where it stops. */
function run(made: Board): void {
  made.tell()
  made.elapse(20_000)
}

describe('COMPLETION_WAIT', () => {
  test('s stores the 8 bytes of data at the address; the head moves behind it [amdvi.command.wait-store]', () => {
    const made = board()
    made.queue(STATUS | 9, 0x10000000, 0x89abcdef, 0x01234567)
    run(made)
    expect([made.load(STATUS), made.load(STATUS + 8), made.read(0x2000)]).toEqual([0n, 0x0123456789abcdefn, 16])
  })

  test('the address has 52 bits [amdvi.command.wait-store]', () => {
    const made = board()
    made.queue(0x2001, 0x10000001, 5)
    run(made)
    expect(made.load(2 ** 32 + 0x2000)).toBe(5n)
  })

  test('without s nothing is stored; f alone is a fence [amdvi.command.wait-store]', () => {
    const made = board()
    made.queue(STATUS | 4, 0x10000000, 7)
    run(made)
    expect([made.load(STATUS), made.read(0x2000), made.read(0x2020)]).toEqual([0n, 16, 0x18])
  })

  test('i sets ComWaitInt always; the message needs ComWaitIntEn (B.5; QEMU sends it regardless) [amdvi.command.wait-interrupt, amdvi.register.status]', () => {
    for (const [control, messages] of [
      [0, 0],
      [0x10, 1],
    ] as const) {
      const made = new Board()
      made.turnOn({ control })
      made.write(0x15c, 0xfee00000)
      made.write(0x164, 0x62)
      made.write(0x158, 0x10000)
      made.queue(2, 0x10000000)
      run(made)
      expect([made.read(0x2020), made.machine.interrupts.received[0x62]]).toEqual([0x1c, messages])
      made.write(0x2020, 4)
      expect(made.read(0x2020)).toBe(0x18)
    }
  })

  test('it takes time: nothing is stored at once [amdvi.command.late]', () => {
    const made = board()
    made.queue(STATUS | 1, 0x10000000, 1)
    made.tell()
    expect(made.load(STATUS)).toBe(0n)
    made.elapse(1000)
    expect(made.load(STATUS)).toBe(1n)
  })
})

describe('the ring', () => {
  test('256 waits one by one: the head wraps to 0 (qtest amd-iommu-test; QEMU exposed an unwrapped head until 2026) [amdvi.command.ring]', () => {
    const made = new Board()
    made.turnOn()
    for (let i = 0; i < 256; i++) {
      made.queue(0, 0x10000000)
      run(made)
      expect(made.read(0x2000)).toBe(((i + 1) % 256) * 16)
    }
  })

  test('255 at once and then one more [amdvi.command.ring]', () => {
    const made = new Board()
    made.turnOn()
    for (let i = 0; i < 255; i++) made.queue(0, 0x10000000)
    run(made)
    expect(made.read(0x2000)).toBe(255 * 16)
    made.queue(STATUS | 1, 0x10000000, 1)
    run(made)
    expect([made.read(0x2000), made.load(STATUS)]).toEqual([0, 1n])
  })

  test('length code 9: 512 entries in two pages [amdvi.command.ring, amdvi.register.command-buffer]', () => {
    const made = new Board()
    made.turnOn()
    made.write(0x18, 0x0405)
    made.write64(0x08, 0x0900000000030000n)
    made.write(0x18, 0x1405)
    made.ring = 8192
    made.rewind()
    for (let i = 0; i < 511; i++) made.queue(0, 0x10000000)
    run(made)
    expect(made.read(0x2000)).toBe(511 * 16)
    made.queue(0, 0x10000000)
    run(made)
    expect(made.read(0x2000)).toBe(0)
  })

  test('head = tail is empty; a tail beyond the ring wraps instead of never being reached [amdvi.command.ring]', () => {
    const made = board()
    made.write(0x2008, 4096)
    made.elapse(20_000)
    expect([made.read(0x2000), made.events()]).toEqual([0, []])
    made.queue(STATUS | 1, 0x10000000, 1)
    made.write(0x2008, 4096 + 16)
    made.elapse(20_000)
    expect([made.read(0x2000), made.load(STATUS)]).toEqual([16, 1n])
  })

  test('with CmdBufEn = 0 nothing is executed; switched on, it is [amdvi.command.enable]', () => {
    const made = board()
    made.write(0x18, 0x0405)
    made.queue(STATUS | 1, 0x10000000, 1)
    run(made)
    expect([made.load(STATUS), made.read(0x2000)]).toEqual([0n, 0])
    made.write(0x18, 0x1405)
    made.elapse(1000)
    expect([made.load(STATUS), made.read(0x2000)]).toEqual([1n, 16])
  })

  test('switched off in between, commands on their way are not executed [amdvi.command.enable]', () => {
    const made = board()
    made.queue(STATUS | 1, 0x10000000, 1)
    made.tell()
    made.write(0x18, 0x0405)
    made.elapse(20_000)
    expect([made.load(STATUS), made.read(0x2000)]).toEqual([0n, 0])
  })
})

describe('illegal commands: ILLEGAL_COMMAND_ERROR with the command’s address, and the buffer stops at it (B.5) [amdvi.command.illegal, amdvi.command.halt]', () => {
  const stopped = (made: Board, at: number) => {
    expect(made.events()).toEqual([`5000000000000000 ${(COMMANDS + at).toString(16).padStart(16, '0')}`])
    expect([made.read(0x2000), made.read(0x2020) & 0x10]).toEqual([at, 0])
  }

  test.each([
    ['opcode 0', 0, 0x00000000, 0, 0],
    ['opcode 9', 0, 0x90000000, 0, 0],
    ['opcode F', 0, 0xf0000000, 0, 0],
    ['COMPLETION_WAIT: dw1 27:20', 0, 0x10100000, 0, 0],
    ['INVALIDATE_DEVTAB_ENTRY: dw0 31:16', 0x10008, 0x20000000, 0, 0],
    ['INVALIDATE_DEVTAB_ENTRY: dw1', 8, 0x20000001, 0, 0],
    ['INVALIDATE_DEVTAB_ENTRY: dw2', 8, 0x20000000, 1, 0],
    ['INVALIDATE_DEVTAB_ENTRY: dw3', 8, 0x20000000, 0, 1],
    ['INVALIDATE_IOMMU_PAGES: dw0 31:20', 0x100000, 0x30000001, 0, 0],
    ['INVALIDATE_IOMMU_PAGES: dw1 27:16', 0, 0x30010001, 0, 0],
    ['INVALIDATE_IOMMU_PAGES: dw2 11:3', 0, 0x30000001, 8, 0],
    ['INVALIDATE_IOMMU_PAGES: GN without guest translation', 0, 0x30000001, 4, 0],
    ['INVALIDATE_IOTLB_PAGES: no device TLBs', 8, 0x40000008, 0, 0],
    ['INVALIDATE_INTERRUPT_TABLE: dw0 31:16', 0x80000008, 0x50000000, 0, 0],
    ['INVALIDATE_INTERRUPT_TABLE: dw2', 8, 0x50000000, 1, 0],
    ['PREFETCH_IOMMU_PAGES: dw0 23:16', 0x10008, 0x60000000, 0, 0],
    ['COMPLETE_PPR_REQUEST: no page requests', 8, 0x70000000, 0, 0],
    ['INVALIDATE_IOMMU_ALL: dw0', 1, 0x80000000, 0, 0],
    ['INVALIDATE_IOMMU_ALL: dw1', 0, 0x80000001, 0, 0],
    ['INVALIDATE_IOMMU_ALL: dw3', 0, 0x80000000, 0, 1],
  ])('%s', (_name, word0, word1, word2, word3) => {
    const made = board()
    made.queue(0, 0x10000000)
    made.queue(word0, word1, word2, word3)
    made.queue(STATUS | 1, 0x10000000, 1)
    run(made)
    stopped(made, 16)
    expect(made.load(STATUS)).toBe(0n)
  })

  test.each([
    ['PREFETCH_IOMMU_PAGES', 'prefetch', 8, 0x60000001],
    ['INVALIDATE_IOMMU_ALL', 'invalidateAll', 0, 0x80000000],
  ] as const)(
    '%s without its feature bit [amdvi.command.prefetch, amdvi.command.all]',
    (_name, feature, word0, word1) => {
      const { hats6 } = amdviPersonalities
      const made = board({ ...hats6, features: { ...hats6.features, [feature]: false } })
      made.queue(word0, word1)
      run(made)
      stopped(made, 0)
    },
  )

  test('with it, prefetch is a hint that changes nothing [amdvi.command.prefetch]', () => {
    const made = board()
    made.command(0x01000008, 0x60000001, IOVA, 0)
    expect(made.events()).toEqual([])
  })

  test('a new tail does not start it again', () => {
    const made = board()
    made.queue(0, 0xf0000000)
    run(made)
    made.queue(STATUS | 1, 0x10000000, 1)
    run(made)
    expect([made.load(STATUS), made.read(0x2000)]).toEqual([0n, 0])
  })

  test('recovery: CmdBufEn off, head = tail = 0, CmdBufEn on (Linux amd_iommu_reset_cmd_buffer)', () => {
    const made = board()
    made.queue(0, 0x10000000)
    made.queue(0, 0xf0000000)
    run(made)
    stopped(made, 16)
    made.write(0x18, 0x0405)
    made.write(0x2000, 0)
    made.write(0x2008, 0)
    made.write(0x18, 0x1405)
    made.rewind()
    expect(made.read(0x2020) & 0x10).toBe(0x10)
    made.wait()
    expect(made.read(0x2000)).toBe(16)
  })

  test('translation goes on meanwhile', () => {
    const made = board()
    made.queue(0, 0xf0000000)
    run(made)
    expect(made.device().get(IOVA)).toBe(0xaan)
  })

  test('what came before it has taken effect', () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    made.store(L1, BigInt(PAGE_B) | RW | 1n)
    made.queue(0, 0x30000001, 0xfffff001, 0x7fffffff)
    made.queue(0, 0xf0000000)
    run(made)
    expect(device.get(IOVA)).toBe(0xbbn)
  })
})
