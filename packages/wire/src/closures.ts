import type { StructCodecs } from './codec.ts'
import { BoundsError } from './errors.ts'
import type { FieldType, StructType } from './layout.ts'

type Slot = Record<string | number, unknown>

/**
 * The same codecs as `compile` makes, by walking the layout: for hosts that forbid code generation, and to check the
 * compiled ones against.
 */
export function closures(layout: StructType): StructCodecs {
  const bounds = (view: DataView, at: number): void => {
    if (!(at >= 0 && at + layout.size <= view.byteLength))
      throw new BoundsError(layout.name, at, layout.size, view.byteLength)
  }
  return {
    read(view, at) {
      bounds(view, at)
      return read(layout, view, at) as object
    },
    readInto(view, at, target) {
      bounds(view, at)
      const root: Slot = { target }
      readInto(layout, view, at, root, 'target')
      return target
    },
    write(view, at, value) {
      bounds(view, at)
      write(layout, view, at, value)
    },
    firstNonZeroPad(view, at) {
      bounds(view, at)
      return firstPad(layout, view, at, '')
    },
  }
}

function read(type: FieldType, view: DataView, at: number): unknown {
  switch (type.kind) {
    case 'number':
      return view[type.get](at, true)
    case 'bytes':
      return new Uint8Array(view.buffer, view.byteOffset + at, type.size).slice()
    case 'array':
      return Array.from({ length: type.count }, (_, i) => read(type.element, view, at + i * type.element.size))
    case 'struct': {
      const value: Slot = {}
      for (const field of type.fields)
        if (field.type.kind !== 'pad') value[field.name] = read(field.type, view, at + field.offset)
      return value
    }
    case 'pad':
      return undefined
  }
}

function readInto(type: FieldType, view: DataView, at: number, holder: Slot, key: string | number): void {
  switch (type.kind) {
    case 'number':
      holder[key] = view[type.get](at, true)
      return
    case 'bytes':
      for (let i = 0; i < type.size; i++) (holder[key] as Slot)[i] = view.getUint8(at + i)
      return
    case 'array':
      for (let i = 0; i < type.count; i++)
        readInto(type.element, view, at + i * type.element.size, holder[key] as Slot, i)
      return
    case 'struct':
      for (const field of type.fields) readInto(field.type, view, at + field.offset, holder[key] as Slot, field.name)
      return
    case 'pad':
  }
}

function write(type: FieldType, view: DataView, at: number, value: unknown): void {
  switch (type.kind) {
    case 'number':
      // The setters differ in whether they take a number or a bigint; the layout pairs them with the right values.
      ;(view[type.set] as (at: number, value: unknown, little: boolean) => void).call(view, at, value, true)
      return
    case 'bytes':
      for (let i = 0; i < type.size; i++) view.setUint8(at + i, (value as Uint8Array)[i]!)
      return
    case 'array':
      for (let i = 0; i < type.count; i++)
        write(type.element, view, at + i * type.element.size, (value as readonly unknown[])[i])
      return
    case 'struct':
      for (const field of type.fields) write(field.type, view, at + field.offset, (value as Slot)[field.name])
      return
    case 'pad':
      for (let i = 0; i < type.size; i++) view.setUint8(at + i, 0)
  }
}

function firstPad(type: FieldType, view: DataView, at: number, path: string): string | undefined {
  switch (type.kind) {
    case 'pad':
      for (let i = 0; i < type.size; i++) if (view.getUint8(at + i) !== 0) return path
      return undefined
    case 'array':
      for (let i = 0; i < type.count; i++) {
        const found = firstPad(type.element, view, at + i * type.element.size, `${path}[${i}]`)
        if (found !== undefined) return found
      }
      return undefined
    case 'struct':
      for (const field of type.fields) {
        const found = firstPad(field.type, view, at + field.offset, path === '' ? field.name : `${path}.${field.name}`)
        if (found !== undefined) return found
      }
      return undefined
    default:
      return undefined
  }
}
