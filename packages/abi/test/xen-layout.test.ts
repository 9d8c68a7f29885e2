import type { FieldType, Struct } from '@iospace/wire'
import { describe, expect, test } from 'vitest'
import { STRUCTS } from '../src/index.ts'
import { xen, xenField } from './xen-layout.ts'

/** Structs that Xen 4.17's headers do not have, with the reason. Every other struct is compared. */
const OWN: readonly (readonly [RegExp, string])[] = [
  [/^iommu_/, 'our own hypercall'],
  [/^domctl_/, 'xen_domctl with its payload typed'],
  [/^blkif_x86_32_/, 'the data is of 64-bit guests'],
  [/^ring_header$/, 'what every *_sring has in common'],
  [/^pci_device_reset$/, 'newer than 4.17'],
  [/^physdev_bus_devfn$/, 'anonymous in Xen'],
]

/** Our path for a member of one of Xen's unions. */
const UNION_MEMBERS: Readonly<Record<string, string>> = {
  'xen_add_to_physmap_batch.foreign_domid': 'u',
  'xen_reserved_device_memory_map.dev': 'dev.pci',
  'xen_reserved_device_memory_map.dev.seg': 'dev.pci.seg',
  'xen_reserved_device_memory_map.dev.bus': 'dev.pci.bus',
  'xen_reserved_device_memory_map.dev.devfn': 'dev.pci.devfn',
  'xen_domctl_assign_device.machine_sbdf': 'u.pci.machine_sbdf',
  'start_info.console_mfn': 'console.domU.mfn',
  'start_info.console_evtchn': 'console.domU.evtchn',
}

const xenPath = (struct: string, path: string): string => UNION_MEMBERS[`${struct}.${path}`] ?? path

const compared = STRUCTS.filter((struct) => !OWN.some(([name]) => name.test(struct.name)))

/** Every leaf of a struct with its path, arrays unopened. */
function leaves(struct: Struct): { path: string; offset: number; type: FieldType }[] {
  const found: { path: string; offset: number; type: FieldType }[] = []
  const visit = (layout: Struct['layout'], prefix: string, base: number): void => {
    for (const { name, offset, type } of layout.fields) {
      if (type.kind === 'struct') visit(type, `${prefix}${name}.`, base + offset)
      else found.push({ path: prefix + name, offset: base + offset, type })
    }
  }
  visit(struct.layout, '', 0)
  return found
}

test('the data is of the ABI that we claim', () => {
  expect(xen.about).toMatchObject({ abi: 'x86_64, 64-bit guest', headers: expect.stringContaining('4.17') })
})

test('every struct is compared, or listed with a reason that still applies', () => {
  expect(compared.filter((struct) => xen.structs[struct.name] === undefined).map((struct) => struct.name)).toEqual([])
  for (const [name] of OWN) {
    const ours = STRUCTS.filter((struct) => name.test(struct.name))
    expect(ours.length, String(name)).toBeGreaterThan(0)
    for (const struct of ours) expect(xen.structs[struct.name], struct.name).toBeUndefined()
  }
  expect(compared.length).toBeGreaterThan(50)
})

describe.each(compared.map((struct) => [struct.name, struct] as const))('%s (Xen 4.17 headers)', (name, struct) => {
  const theirs = xen.structs[name]!

  test('size', () => {
    expect(struct.size).toBe(theirs.size)
  })

  test('offset, size and sign of every field', () => {
    for (const { path, offset, type } of leaves(struct)) {
      const field = xenField(name, xenPath(name, path))
      if (field === undefined) {
        // Only padding that C leaves implicit may have no counterpart.
        expect(type.kind, `${path} is not in Xen's struct`).toBe('pad')
        continue
      }
      expect({ path, offset, size: type.size }).toEqual({ path, offset: field.offset, size: field.size })
      const signed = /^(int|int8_t|int16_t|int32_t|int64_t)$/.test(field.type)
      if (type.kind === 'number' && !/^(struct|union)/.test(field.type))
        expect(type.min < 0, `sign of ${path}`).toBe(signed)
    }
  })

  test('no byte of a field of Xen’s is padding of ours', () => {
    const padded = new Set<number>()
    for (const { offset, type } of leaves(struct))
      if (type.kind === 'pad') for (let i = 0; i < type.size; i++) padded.add(offset + i)
    for (const [path, field] of Object.entries(theirs.fields)) {
      const nested = /^(struct|union)\b/.test(field.type) || xen.structs[field.type.replace(/_t$/, '')] !== undefined
      const isPad = /(^|[._])_*pad\d*$/.test(path)
      if (nested || isPad || notModelled(name, path)) continue
      for (let i = 0; i < field.size; i++) expect(padded.has(field.offset + i), `byte ${i} of ${path}`).toBe(false)
    }
  })
})

/** Device-tree paths: not on x86. */
function notModelled(struct: string, path: string): boolean {
  return struct === 'xen_domctl_assign_device' && path.startsWith('u.dt')
}
