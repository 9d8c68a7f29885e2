/**
 * Interrupts of edu through our drivers' remapping, on QEMU's units and on ours: one test, the board's name is the only word that changes.
 * The processor of QEMU's board counts what it takes.
 */
import { describe, expect, test } from 'vitest'
import { setMessage, type Message } from '../src/index.ts'
import { EDU_FUNCTIONS, type BoardName } from './boards/index.ts'
import { BRIDGED, DEVICE, OTHER, setUp, type Setup } from './driver-setup.ts'
import { qemu, qemuTest } from './qemu.ts'

const boards = ['qemu39', 'qemu48', 'qemuAmd', 'ours39', 'ours48', 'oursAmd'] as const satisfies readonly BoardName[]

/** The control has the lowest priority: when it has been taken, nothing that was sent before it waits. */
const CONTROL = 0x40
const VECTOR = 0x71
const SECOND = 0x82
/** A message of the old format: no unit remaps it, the vector is in the data. */
const compatible = (vector: number): Message => ({ addressLow: 0xfee0_0000, addressHigh: 0, data: vector })
/** Looks, each about as long as a command of QEMU takes, for an interrupt that must come. */
const LOOKS = 100_000

/** Why an interrupt is blocked: VT-d's reasons; AMD-Vi's IO_PAGE_FAULT, or INVALID_DEVICE_REQUEST of a device without a table (facts A.3, B.6). */
const REASONS = {
  vtd: { absent: 0x22, otherSource: 0x26, compatible: 0x25 },
  amdvi: { absent: 2, otherSource: 8, compatible: 8 },
} as const
type Cause = keyof (typeof REASONS)['vtd']

/** QEMU's VT-d unit records blocked interrupts in 10.0 and not in 7.2; its AMD-Vi unit records nothing. */
const records = (name: BoardName): boolean =>
  name.startsWith('ours') || (name !== 'qemuAmd' && qemu.ok && qemu.version[0] >= 10)

function setUpInterrupts(name: BoardName) {
  const s = setUp(name)
  const map = (bdf: number, vector: number) => {
    const message = { addressLow: 0, addressHigh: 0, data: 0 }
    const handle = s.driver.mapInterrupt(bdf, vector, message)
    expect(handle).toBeGreaterThanOrEqual(0)
    return { handle, message }
  }
  const control = map(EDU_FUNCTIONS[2], CONTROL).message
  setMessage(s.board.pci, EDU_FUNCTIONS[2], control)
  const send = (bdf: number, message: Message) => {
    setMessage(s.board.pci, bdf, message)
    s.board.devices.get(bdf)!.interrupt(1)
  }
  return {
    ...s,
    map,
    /** `bdf` sends each of `messages`: how often each of {@link VECTOR} and {@link SECOND} was taken by then. */
    taken(bdf: number, ...messages: readonly Message[]): number[] {
      const before = [CONTROL, VECTOR, SECOND].map((vector) => s.board.interrupts(vector))
      for (const message of messages) send(bdf, message)
      send(EDU_FUNCTIONS[2], control)
      for (let looks = 0; s.board.interrupts(CONTROL) === before[0] && looks < LOOKS; looks++);
      expect(s.board.interrupts(CONTROL)).toBe(before[0]! + 1)
      return [VECTOR, SECOND].map((vector, i) => s.board.interrupts(vector) - before[i + 1]!)
    },
    /** The unit has recorded these blocked interrupts, and nothing else, since the last call. */
    expectBlocked(...expected: readonly (readonly [requester: number, cause: Cause])[]) {
      const found: (readonly [number, number])[] = []
      s.driver.drainFaults(({ requester, hardwareReason }) => found.push([requester, hardwareReason]))
      const reasons = REASONS[s.board.kind]
      expect(found).toEqual(records(name) ? expected.map(([requester, cause]) => [requester, reasons[cause]]) : [])
    },
    [Symbol.dispose]: () => s[Symbol.dispose](),
  } satisfies Setup & Record<string, unknown>
}

describe.each(boards)('%s', (name) => {
  const rule = name.startsWith('qemu') ? qemuTest : test

  rule('a mapped interrupt arrives as the vector it was mapped to, of a device behind a port too', () => {
    using s = setUpInterrupts(name)
    for (const bdf of [DEVICE, BRIDGED]) expect(s.taken(bdf, s.map(bdf, VECTOR).message)).toEqual([1, 0])
  })

  rule('two interrupts of a device have their own entries', () => {
    using s = setUpInterrupts(name)
    const [first, second] = [s.map(DEVICE, VECTOR), s.map(DEVICE, SECOND)]
    expect(second.handle).not.toBe(first.handle)
    expect(s.taken(DEVICE, first.message)).toEqual([1, 0])
    expect(s.taken(DEVICE, second.message)).toEqual([0, 1])
  })

  rule('a message that another device was given does not arrive (VT-d: SVT and SID; AMD-Vi: its own table)', () => {
    using s = setUpInterrupts(name)
    const { message } = s.map(DEVICE, VECTOR)
    expect(s.taken(OTHER, message)).toEqual([0, 0])
    s.expectBlocked([OTHER, 'otherSource'])
    expect(s.taken(DEVICE, message)).toEqual([1, 0])
    s.expectBlocked()
  })

  rule('an unmapped interrupt does not arrive any more, though it was used before', () => {
    using s = setUpInterrupts(name)
    const { handle, message } = s.map(DEVICE, VECTOR)
    const other = s.map(DEVICE, SECOND)
    expect(s.taken(DEVICE, message)).toEqual([1, 0])
    expect(s.driver.unmapInterrupt(DEVICE, handle)).toBe(0)
    expect(s.taken(DEVICE, message)).toEqual([0, 0])
    s.expectBlocked([DEVICE, 'absent'])
    expect(s.taken(DEVICE, other.message)).toEqual([0, 1])
  })

  // QEMU's VT-d unit lets messages of the old format pass whatever CFIS says (facts E, QEMU VT-d (2)).
  const passes = name === 'qemu39' || name === 'qemu48'
  rule(`a message of the old format ${passes ? 'arrives: QEMU never blocks it' : 'does not arrive'}`, () => {
    using s = setUpInterrupts(name)
    expect(s.taken(DEVICE, compatible(VECTOR))).toEqual([passes ? 1 : 0, 0])
    s.expectBlocked(...(passes ? [] : [[DEVICE, 'compatible'] as const]))
  })
})
