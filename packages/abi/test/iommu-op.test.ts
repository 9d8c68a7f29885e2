import type { FieldType, Struct } from '@iospace/wire'
import { describe, expect, test } from 'vitest'
import * as abi from '../src/index.ts'

/**
 * Offsets typed by hand from the specification, never computed: a change of layout must change this table too, and with
 * it the ABI version. The number behind the name is the size.
 */
// prettier-ignore
const golden: Record<string, Record<string, number>> = {
  'iommu_list 16': { array: 0, count: 8, stride: 12 },
  'iommu_query 136': {
    size: 0, flags: 4, domid: 8, pad0: 10, magic: 12, version: 16, hardware_kind: 20, features: 24, page_sizes: 32, address_width: 40, access_kinds: 44,
    max_batch: 48, max_atomic: 52, default_kind: 56, max_spaces: 60, spaces: 64, max_deferred: 68, max_pinned: 72, pinned: 80, max_table_pages: 88,
    table_pages: 96, max_deferred_age: 104, deferred: 112, pad1: 116, pending: 120, stuck: 128,
  },
  'iommu_query_device 64': {
    size: 0, flags: 4, domid: 8, pad0: 10, device: 12, group: 16, members: 20, own_members: 24, granularity: 28, reasons: 32, space: 36, state: 40,
    hardware_kind: 44, access_kinds: 48, address_width: 52, page_sizes: 56,
  },
  'iommu_create_space 120': {
    size: 0, flags: 4, domid: 8, pad0: 10, space: 12, device_count: 16, max_mappings: 20, window_start: 24, window_end: 32, page_sizes: 40,
    address_width: 48, access_kinds: 52, devices: 56,
  },
  'iommu_destroy_space 16': { size: 0, flags: 4, domid: 8, pad0: 10, space: 12 },
  'iommu_attach_device 24': { size: 0, flags: 4, domid: 8, pad0: 10, space: 12, device: 16, members: 20 },
  'iommu_detach_device 24': { size: 0, flags: 4, domid: 8, pad0: 10, device: 12, state: 16, members: 20 },
  'iommu_map 40': { size: 0, flags: 4, domid: 8, pad0: 10, space: 12, done: 16, pad1: 20, list: 24, 'list.array': 24, 'list.count': 32, 'list.stride': 36 },
  'iommu_map_element 48': {
    io_address: 0, gfn: 8, pages: 16, limit: 24, access: 32, flags: 34, align: 36, boundary: 37, page_order: 38, pad0: 39, status: 40, granted: 44, pad1: 46,
  },
  'iommu_unmap 48': {
    size: 0, flags: 4, domid: 8, pad0: 10, space: 12, done: 16, pad1: 20, list: 24, 'list.array': 24, 'list.count': 32, 'list.stride': 36, ticket: 40,
  },
  'iommu_unmap_element 24': { io_address: 0, pages: 8, status: 16, done: 20 },
  'iommu_flush 48': { size: 0, flags: 4, domid: 8, pad0: 10, space: 12, ticket: 16, io_address: 24, pages: 32, completed: 40 },
  'iommu_map_grant 40': { size: 0, flags: 4, domid: 8, pad0: 10, space: 12, done: 16, pad1: 20, list: 24, 'list.array': 24, 'list.count': 32, 'list.stride': 36 },
  'iommu_map_grant_element 40': { io_address: 0, limit: 8, domid: 16, access: 18, ref: 20, flags: 24, handle: 28, status: 32, granted: 34, error: 36 },
  'iommu_unmap_grant 48': {
    size: 0, flags: 4, domid: 8, pad0: 10, space: 12, done: 16, pad1: 20, list: 24, 'list.array': 24, 'list.count': 32, 'list.stride': 36, ticket: 40,
  },
  'iommu_unmap_grant_element 16': { handle: 0, status: 4, pad0: 6, error: 8, pad1: 12 },
  'iommu_lookup 72': {
    size: 0, flags: 4, domid: 8, pad0: 10, space: 12, io_address: 16, gfn: 24, start: 32, pages: 40, access: 48, granted: 50, kind: 52, page_order: 54, pad1: 55,
    handle: 56, ref: 60, owner: 64, pad2: 66,
  },
  'iommu_set_fault_ring 40': { size: 0, flags: 4, domid: 8, pad0: 10, control_gfn: 16, gfns: 24, 'gfns.array': 24, 'gfns.count': 32, 'gfns.stride': 36 },
  'iommu_set_limits 56': {
    size: 0, flags: 4, domid: 8, pad0: 10, max_spaces: 12, max_pinned: 16, max_table_pages: 24, max_deferred: 32, default_kind: 36, max_deferred_age: 40,
    permissions: 48, pad1: 52,
  },
  'iommu_name_device 24': { size: 0, flags: 4, domid: 8, pad0: 10, machine_device: 12, device: 16, pad1: 20 },
  'iommu_set_default 16': { size: 0, flags: 4, domid: 8, pad0: 10, kind: 12 },
  'iommu_fault_control 128': { producer: 0, lost: 4, pad0: 8, consumer: 64, pad1: 68 },
  'iommu_fault_record 64': {
    sequence: 0, reason: 4, hw_reason: 6, flags: 8, domid: 10, device: 12, space: 16, handle: 20, io_address: 24, time: 32, cookie: 40, pad0: 48,
  },
}

const ours = abi.STRUCT_FAMILIES.iommu_op

test('every struct of iommu_op is at its golden offsets', () => {
  expect(Object.fromEntries(ours.map((struct) => [`${struct.name} ${struct.size}`, struct.offsets]))).toEqual(golden)
})

describe('rules of every iommu_op struct', () => {
  const leaves = (type: FieldType): FieldType[] =>
    type.kind === 'struct'
      ? type.fields.flatMap((field) => leaves(field.type))
      : type.kind === 'array'
        ? leaves(type.element)
        : [type]

  test.each(ours.map((struct) => [struct.name, struct] as const))(
    '%s: a multiple of 8, natural alignment, padding named pad0, pad1, …',
    (_, struct: Struct) => {
      expect(struct.size % 8).toBe(0)
      const pads = struct.layout.fields.filter((field) => field.type.kind === 'pad').map((field) => field.name)
      expect(pads).toEqual(pads.map((__, i) => `pad${i}`))
      for (const { offset, type } of struct.layout.fields) expect(offset % type.align).toBe(0)
    },
  )

  test('one layout for 32- and 64-bit callers: only fixed-width numbers and padding, 64-bit ones at multiples of 8', () => {
    for (const struct of ours) {
      for (const type of leaves(struct.layout)) expect(['number', 'pad']).toContain(type.kind)
      for (const { offset, type } of struct.layout.fields) if (type.align === 8) expect(offset % 8, struct.name).toBe(0)
    }
  })

  test.each(abi.IOMMU_SUBOPS.map((subop) => [subop.name, subop] as const))(
    '%s starts size u32, flags u32, domid u16',
    (_, { struct }) => {
      const [size, flags, domid] = struct.layout.fields
      expect(
        [size, flags, domid].map((field) => [field!.name, field!.offset, (field!.type as { name: string }).name]),
      ).toEqual([
        ['size', 0, 'u32'],
        ['flags', 4, 'u32'],
        ['domid', 8, 'u16'],
      ])
      expect([struct.words.size, struct.words.flags, struct.words.domid]).toEqual([
        abi.IOMMU_HEADER_WORDS.size,
        abi.IOMMU_HEADER_WORDS.flags,
        abi.IOMMU_HEADER_WORDS.domid,
      ])
      expect(struct.shifts.domid).toBe(0)
    },
  )
})

describe('golden bytes: value ↔ hex', () => {
  test('map: a list of two elements for space 5 of domain 3', () => {
    const bytes = '28000000 02000000 0300 0000 05000000 01000000 00000000 0040000001000000 02000000 30000000'
    expectVector(
      abi.iommu_map,
      { size: 40, flags: 2, domid: 3, space: 5, done: 1, list: { array: 0x1_0000_4000n, count: 2, stride: 48 } },
      bytes,
    )
  })

  test('map element: four pages, read and write, anywhere below 4 GiB, 16 KiB aligned', () => {
    const bytes =
      '00f0ff0000000000 7856341200000000 0400000000000000 ffffffff00000000 0300 0100 0e 1f 02 00 9effffff 0300 0000'
    const value = {
      io_address: 0xfff000n,
      gfn: 0x12345678n,
      pages: 4n,
      limit: 0xffffffffn,
      access: 3,
      flags: 1,
      align: 14,
      boundary: 31,
      page_order: 2,
      status: -abi.Errno.EADDRINUSE,
      granted: 3,
    }
    expectVector(abi.iommu_map_element, value, bytes)
  })

  test('unmap element', () => {
    expectVector(
      abi.iommu_unmap_element,
      { io_address: 0x1000n, pages: 1n, status: -2, done: 0 },
      '0010000000000000 0100000000000000 feffffff 00000000',
    )
  })

  test('map_grant element: a bad reference', () => {
    const value = {
      io_address: 0n,
      limit: 0n,
      domid: 7,
      access: 1,
      ref: 9,
      flags: 1,
      handle: 0xffffffff,
      status: abi.GNTST.bad_gntref,
      granted: 0,
      error: -22,
    }
    expectVector(
      abi.iommu_map_grant_element,
      value,
      '0000000000000000 0000000000000000 0700 0100 09000000 01000000 ffffffff fdff 0000 eaffffff',
    )
  })

  test('fault record', () => {
    const value = {
      sequence: 1,
      reason: 3,
      hw_reason: 5,
      flags: 22,
      domid: 2,
      device: 0x318,
      space: 0,
      handle: 0xffffffff,
      io_address: 0xdead000n,
      time: 1_000_000n,
      cookie: 7n,
    }
    const bytes =
      '01000000 0300 0500 1600 0200 18030000 00000000 ffffffff 00d0ea0d00000000 40420f0000000000 0700000000000000 00000000000000000000000000000000'
    expectVector(abi.iommu_fault_record, value, bytes)
  })

  test('query: the magic spells iosp', () => {
    const bytes = abi.iommu_query.encode({ ...abi.iommu_query.zero(), magic: abi.IOMMU_MAGIC })
    expect(String.fromCharCode(...bytes.slice(12, 16).reverse())).toBe('iosp')
  })

  test('bad values are refused, bad bytes are found', () => {
    const element = abi.iommu_map_element
    expect(() => element.encode({ ...element.zero(), access: 0x10000 })).toThrow(
      'iommu_map_element.access at 0x20: 0x10000 does not fit u16',
    )
    expect(() => element.encode({ ...element.zero(), gfn: -1n })).toThrow(
      'iommu_map_element.gfn at 0x8: -0x1 does not fit u64',
    )
    const bytes = new Uint8Array(48)
    bytes[47] = 1
    expect(element.firstNonZeroPad(new DataView(bytes.buffer), 0)).toBe('pad1')
    expect(() => element.decode(new Uint8Array(47))).toThrow('length 0x2f where 0x30 is needed')
  })
})

test('numbers of the sub-ops, as in the specification', () => {
  // prettier-ignore
  expect(Object.entries(abi.IOMMU_OP).map(([name, number]) => `${number} ${name}`)).toEqual([
    '0 query', '1 query_device', '2 query_ranges', '3 create_space', '4 destroy_space', '5 attach_device', '6 detach_device', '7 map', '8 unmap', '9 flush',
    '10 map_grant', '11 unmap_grant', '12 revoke_grant', '13 lookup', '14 set_fault_ring', '15 dirty_start', '16 dirty_read', '17 dirty_stop',
    '18 save_space', '19 restore_space', '20 set_limits', '21 name_device', '22 set_default',
  ])
  expect(abi.HYPERCALL.iommu_op).toBe(43)
  expect(abi.IOMMU_MAGIC).toBe(0x696f7370)
})

test('the table of sub-ops agrees with the numbers, and its flags are single bits known once each', () => {
  for (const subop of abi.IOMMU_SUBOPS) {
    expect(subop.number).toBe(abi.IOMMU_OP[subop.name])
    expect(subop.struct.name).toBe(`iommu_${subop.name}`)
    expect(subop.elementSize).toBe(subop.element?.size ?? (subop.name === 'set_fault_ring' ? 8 : 0))
    const flags = Object.values(subop.flags)
    for (const flag of flags) expect(Math.log2(flag) % 1).toBe(0)
    expect(flags.reduce((sum, flag) => sum + flag, 0)).toBe(subop.knownFlags)
  }
})

test('flags with one name have one value wherever they appear', () => {
  const seen = new Map<string, number>()
  for (const { flags } of abi.IOMMU_SUBOPS) {
    for (const [name, value] of Object.entries(flags)) {
      if (name in abi.IOMMU_FLAG) expect(value).toBe(abi.IOMMU_FLAG[name as keyof typeof abi.IOMMU_FLAG])
      expect(seen.get(name) ?? value, name).toBe(value)
      seen.set(name, value)
    }
  }
  expect(abi.MAP_GRANT_ELEMENT_FLAGS).toEqual({ ANY: abi.MAP_ELEMENT_FLAGS.ANY, WIDEN: abi.MAP_ELEMENT_FLAGS.WIDEN })
})

test('rights: nobody acts for a domain that is neither its own nor under its control', () => {
  expect(Object.keys(abi.IOMMU_RIGHTS)).toEqual(Object.keys(abi.IOMMU_OP))
  for (const rights of Object.values(abi.IOMMU_RIGHTS)) expect(rights.other).toBe(false)
  const only = (kind: 'self' | 'control'): string[] =>
    Object.entries(abi.IOMMU_RIGHTS).flatMap(([name, rights]) =>
      rights[kind] && !(rights.self && rights.control) ? [name] : [],
    )
  expect(only('control')).toEqual(['set_limits', 'name_device'])
  expect(only('self')).toEqual(['set_fault_ring', 'set_default'])
})

test('a page holds 64 fault records', () => {
  expect(abi.iommu_fault_record.size * abi.FAULT_RECORDS_PER_PAGE).toBe(abi.PAGE_SIZE)
})

/** Both directions, and the padding is clean. */
function expectVector<V extends object>(
  struct: {
    encode(value: V): Uint8Array
    decode(bytes: Uint8Array): V
    firstNonZeroPad(view: DataView, at: number): string | undefined
  },
  value: V,
  text: string,
): void {
  const bytes = Uint8Array.from(text.replaceAll(' ', '').match(/../g)!, (digits) => Number.parseInt(digits, 16))
  expect(struct.encode(value)).toEqual(bytes)
  expect(struct.decode(bytes)).toEqual(value)
  expect(struct.firstNonZeroPad(new DataView(bytes.buffer), 0)).toBeUndefined()
}
