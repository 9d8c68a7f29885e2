import { describe, expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  DOMID,
  Errno,
  HYPERCALL,
  IOMMU_OP,
  IOMMU_SUBOPS,
  type IommuSubop,
  SPACE_NONE,
  iommu_list,
  iommu_query,
  iommu_set_fault_ring,
} from '@iospace/abi'
import { addGuest, give, setLimits } from './builder.ts'
import { type Guest, rig } from './rig.ts'

const { EFAULT, EINVAL, E2BIG, EOPNOTSUPP, EPERM, ESRCH, ENODEV, ENOENT } = Errno

function system() {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0, { kind: DEFAULT_KIND.EMPTY, deferred: 4 })
  return { r, guest, dom0: r.dom0 }
}

const listAt = ({ struct }: IommuSubop): number =>
  struct.layout.fields.find(({ type }) => type.kind === 'struct' && type.name === iommu_list.name)?.offset ?? -1

/** The bytes of a call of `subop` that says nothing wrong in its header and list, and names a space and device that do not exist. */
function argument(
  guest: Guest,
  subop: IommuSubop,
  change: (view: DataView) => void = () => undefined,
  bytes = subop.struct.size,
): void {
  const view = new DataView(new ArrayBuffer(Math.max(bytes, subop.struct.size)))
  view.setUint32(0, subop.struct.size, true)
  view.setUint16(8, DOMID.SELF, true)
  const { offsets } = subop.struct as unknown as { offsets: Record<string, number> }
  if (offsets['space'] !== undefined) view.setUint32(offsets['space'], 0x1234, true)
  const list = listAt(subop)
  if (list >= 0) {
    view.setBigUint64(list, BigInt(guest.list), true)
    view.setUint32(list + 12, subop.elementSize, true)
  }
  change(view)
  new Uint8Array(view.buffer).forEach((byte, i) => (guest.view.memory.bytes[guest.offset(guest.argument + i)] = byte))
}

const call = (guest: Guest, subop: IommuSubop, pointer = guest.argument): number =>
  guest.call(HYPERCALL.iommu_op, subop.number, pointer)

describe.each(IOMMU_SUBOPS.map((subop) => [subop.name, subop] as const))(
  '%s: the rules of every iommu_op (abi.md)',
  (_name, subop) => {
    const { size } = subop.struct
    const list = listAt(subop)
    const unknownFlag = 0x8000_0000
    const caller = subop.rights.self ? 'guest' : 'dom0'

    test('EFAULT when the first 8 bytes, or the rest, are not there', () => {
      const { [caller]: who } = system()
      expect(call(who, subop, 0)).toBe(-EFAULT)
      const last = 255 * 4096
      const edge = (who === undefined ? 0 : who.domid === 0 ? last : 63 * 4096) + 4096 - 8
      const view = who.view.memory.view
      view.setUint32(who.offset(edge), size, true)
      expect(call(who, subop, edge)).toBe(-EFAULT)
      expect(call(who, subop, 2 ** 60)).toBe(-EFAULT)
    })

    test('EINVAL when shorter than version 1, and the rest is not even read', () => {
      const { [caller]: who } = system()
      argument(who, subop, (view) => view.setUint32(0, size - 8, true))
      expect(call(who, subop)).toBe(-EINVAL)
      const edge = (who.domid === 0 ? 255 : 63) * 4096 + 4096 - 8
      who.view.memory.view.setUint32(who.offset(edge), 8, true)
      expect(call(who, subop, edge)).toBe(-EINVAL)
    })

    test('longer with a zero tail is the same call; with a non-zero tail E2BIG', () => {
      const { [caller]: who } = system()
      argument(who, subop)
      const plain = call(who, subop)
      const grow = (byte: number) => (view: DataView) => {
        view.setUint32(0, size + 16, true)
        view.setUint8(size + 15, byte)
      }
      argument(who, subop, grow(0), size + 16)
      expect(call(who, subop)).toBe(plain)
      argument(who, subop, grow(1), size + 16)
      expect(call(who, subop)).toBe(-E2BIG)
      argument(who, subop, (view) => view.setUint32(0, 0xffff_ffff, true))
      expect(call(who, subop)).toBe(-E2BIG)
    })

    test('EOPNOTSUPP for an unknown flag, EINVAL for each byte of padding', () => {
      const { [caller]: who } = system()
      argument(who, subop, (view) => view.setUint32(4, unknownFlag, true))
      expect(call(who, subop)).toBe(-EOPNOTSUPP)
      for (const { offset, type } of subop.struct.layout.fields) {
        for (let at = offset; type.kind === 'pad' && at < offset + type.size; at++) {
          argument(who, subop, (view) => view.setUint8(at, 1))
          expect(call(who, subop)).toBe(-EINVAL)
        }
      }
    })

    test('EPERM before any look-up for a caller without the right, for any domid', () => {
      const { guest, dom0 } = system()
      for (const domid of [0, 77, DOMID.IO, DOMID.XEN]) {
        argument(guest, subop, (view) => view.setUint16(8, domid, true))
        expect(call(guest, subop)).toBe(-EPERM)
      }
      // A domain names itself by its own id as well.
      argument(guest, subop, (view) => view.setUint16(8, guest.domid, true))
      const named = call(guest, subop)
      argument(guest, subop)
      expect(call(guest, subop)).toBe(named)
      argument(dom0, subop, (view) => view.setUint16(8, 77, true))
      expect(call(dom0, subop)).toBe(subop.rights.control ? -ESRCH : -EPERM)
    })

    test('precedence: EFAULT, then size and flags, then rights', () => {
      const { guest } = system()
      argument(guest, subop, (view) => {
        view.setUint32(4, unknownFlag, true)
        view.setUint16(8, 0, true)
        if (list >= 0) view.setUint32(list + 8, 1, true)
        if (list >= 0) view.setBigUint64(list, 0n, true)
      })
      expect(call(guest, subop)).toBe(list >= 0 ? -EFAULT : -EOPNOTSUPP)
      argument(guest, subop, (view) => {
        view.setUint32(4, unknownFlag, true)
        view.setUint16(8, 0, true)
      })
      expect(call(guest, subop)).toBe(-EOPNOTSUPP)
    })
  },
)

describe.each(IOMMU_SUBOPS.filter((subop) => listAt(subop) >= 0).map((subop) => [subop.name, subop] as const))(
  '%s: the rules of every list (abi.md)',
  (_name, subop) => {
    const list = listAt(subop)
    const caller = subop.rights.self ? 'guest' : 'dom0'

    test('lists: stride at least an element (EINVAL), count within the limit (E2BIG), all of it there and writable (EFAULT)', () => {
      const { [caller]: who } = system()
      const change = (count: number, stride: number, array = BigInt(who.list)) => {
        argument(who, subop, (view) => {
          view.setBigUint64(list, array, true)
          view.setUint32(list + 8, count, true)
          view.setUint32(list + 12, stride, true)
        })
        return call(who, subop)
      }
      expect(change(1, subop.elementSize - 8)).toBe(-EINVAL)
      expect(change(1, subop.elementSize + 4)).toBe(-EINVAL)
      expect(change(1025, subop.elementSize)).toBe(-E2BIG)
      expect(change(1, subop.elementSize, 0n)).toBe(-EFAULT)
      expect(change(1024, subop.elementSize, BigInt((who.domid === 0 ? 255 : 63) * 4096))).toBe(-EFAULT)
      expect(change(1, subop.elementSize, 2n ** 63n)).toBe(-EFAULT)
    })
  },
)

test('names come last: no such device is ENODEV, no such space ENOENT (abi.md, precedence)', () => {
  const { guest } = system()
  const results = (name: string): number => {
    const subop = IOMMU_SUBOPS.find((one) => one.name === name)!
    argument(guest, subop)
    return call(guest, subop)
  }
  expect(results('query_device')).toBe(-ENODEV)
  expect(results('attach_device')).toBe(-ENODEV)
  expect(results('detach_device')).toBe(-ENODEV)
  for (const name of ['map', 'unmap', 'map_grant', 'unmap_grant', 'flush', 'lookup', 'destroy_space'])
    expect(results(name)).toBe(-ENOENT)
  expect(SPACE_NONE).toBeGreaterThan(0x1234)
})

test('sub-ops that are not there yet are EOPNOTSUPP, whatever their argument (abi.md, reserved)', () => {
  const { guest } = system()
  const there = new Set(IOMMU_SUBOPS.map(({ number }) => number))
  for (let number = 0; number < 64; number++)
    if (!there.has(number)) expect(guest.call(HYPERCALL.iommu_op, number, 0)).toBe(-EOPNOTSUPP)
})

test('without an IOMMU query answers kind 0, set_limits and name_device work, the others are EOPNOTSUPP (abi.md)', () => {
  const r = rig({ iommu: false })
  const guest = addGuest(r, { iommu: false })
  const { rc, out } = guest.op('iommu_op', IOMMU_OP.query, iommu_query, { size: iommu_query.size, domid: DOMID.SELF })
  expect(rc).toBe(0)
  expect(out).toMatchObject({
    magic: 0x696f7370,
    version: 1,
    hardware_kind: 0,
    features: 0n,
    page_sizes: 0n,
    max_batch: 1024,
  })
  expect(setLimits(r.dom0, guest.domid, { spaces: 3 })).toBe(0)
  for (const subop of IOMMU_SUBOPS) {
    if (['query', 'set_limits', 'name_device'].includes(subop.name)) continue
    argument(guest, subop)
    expect(call(guest, subop)).toBe(-EOPNOTSUPP)
  }
})

test("OUT fields only: nothing else of struct or list is written, no byte of the hypervisor's leaks (I15)", () => {
  const { guest } = system()
  const subop = IOMMU_SUBOPS.find(({ name }) => name === 'query')!
  const tail = 24
  argument(guest, subop, (view) => view.setUint32(0, subop.struct.size + tail, true), subop.struct.size + tail)
  guest.poke(2, subop.struct.size + tail, 0x99)
  expect(call(guest, subop)).toBe(0)
  const view = guest.view.memory.view
  expect(view.getUint32(guest.offset(guest.argument), true)).toBe(subop.struct.size + tail)
  for (const { offset, type } of subop.struct.layout.fields) {
    for (let at = offset; type.kind === 'pad' && at < offset + type.size; at++) expect(guest.peek(2, at)).toBe(0)
  }
  for (let at = subop.struct.size; at < subop.struct.size + tail; at++) expect(guest.peek(2, at)).toBe(0)
  expect(guest.peek(2, subop.struct.size + tail)).toBe(0x99)
  expect(iommu_set_fault_ring.size).toBeGreaterThan(0)
})
