import { readFileSync, readdirSync } from 'node:fs'
import type { StructType } from '@iospace/wire'
import { expect, test } from 'vitest'
import * as abi from '../src/index.ts'
import { fc } from './property.ts'

interface Restructure {
  toBuffer(value: unknown): Uint8Array
  fromBuffer(bytes: Uint8Array): unknown
}

const { STRUCTS, structNamed } = abi

test('the registry has every struct that a source file declares', () => {
  const folder = new URL('../src/', import.meta.url)
  const declared = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) =>
      [...readFileSync(new URL(file, folder), 'utf8').matchAll(/^export const (\w+) = (?:struct|domctl)\(/gm)].map(
        (match) => match[1]!,
      ),
    )
  expect(declared.length).toBeGreaterThan(80)
  expect(STRUCTS.map((struct) => struct.name).sort()).toEqual(declared.sort())
})

test('a struct is exported under its C name and found by it', () => {
  for (const struct of STRUCTS) {
    expect((abi as Record<string, unknown>)[struct.name], struct.name).toBe(struct)
    expect(structNamed(struct.name)).toBe(struct)
  }
  expect(structNamed('no_such_struct')).toBeUndefined()
})

test.each(STRUCTS.map((struct) => [struct.name, struct] as const))(
  '%s: compiled codec and restructure agree byte for byte, both ways',
  (_, struct) => {
    const restructure = struct.schema as Restructure
    fc.assert(
      fc.property(fc.uint8Array({ minLength: struct.size, maxLength: struct.size, size: 'max' }), (data) => {
        const value = struct.decode(data)
        expect(value).toEqual(restructure.fromBuffer(data))
        const bytes = struct.encode(value)
        expect(bytes).toEqual(restructure.toBuffer(value))
        expect(struct.decode(bytes)).toEqual(value)
      }),
      { numRuns: struct.size > 512 ? 5 : 50 },
    )
  },
)

test('every struct but the packed 32-bit ones has natural alignment, so that C lays it out alike', () => {
  const aligned = (layout: StructType): boolean =>
    layout.fields.every(({ offset, type }) => offset % type.align === 0 && (type.kind !== 'struct' || aligned(type)))
  expect(STRUCTS.filter((struct) => !aligned(struct.layout)).map((struct) => struct.name)).toEqual([
    'blkif_x86_32_request',
    'blkif_x86_32_request_discard',
  ])
})

test('a typed domctl is the 144 bytes of xen_domctl with its payload at 16 (Xen headers)', () => {
  const calls = STRUCTS.filter((struct) => struct.name.startsWith('domctl_'))
  expect(calls.length).toBe(8)
  for (const call of calls) {
    const { cmd, interface_version, domain, _pad, u } = call.offsets
    expect([call.size, cmd, interface_version, domain, _pad, u], call.name).toEqual([144, 0, 4, 8, 10, 16])
    expect(call.size).toBe(abi.xen_domctl.size)
  }
})

test('pci_device_reset: function at 0, flags at 4 (newer than the compared headers)', () => {
  expect(abi.pci_device_reset.size).toBe(8)
  expect(abi.pci_device_reset.offsets).toEqual({ dev: 0, 'dev.seg': 0, 'dev.bus': 2, 'dev.devfn': 3, flags: 4 })
})
