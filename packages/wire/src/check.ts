import { LengthError, ValueError } from './errors.ts'
import type { FieldType, StructType } from './layout.ts'

/** Throws unless `value` has every field of the struct, each in its type's range and of exactly its length. */
export function checkValue(layout: StructType, value: unknown): void {
  checkFields(layout, value, layout.name, '', 0)
}

function checkFields(layout: StructType, value: unknown, struct: string, prefix: string, base: number): void {
  if (typeof value !== 'object' || value === null)
    throw new ValueError(struct, prefix === '' ? undefined : prefix.slice(0, -1), base, value, 'is not an object')
  const record = value as Readonly<Record<string, unknown>>
  for (const { name, offset, type } of layout.fields) check(type, record[name], struct, prefix + name, base + offset)
}

function check(type: FieldType, value: unknown, struct: string, path: string, at: number): void {
  switch (type.kind) {
    case 'pad':
      return
    case 'number': {
      const big = typeof type.max === 'bigint'
      const right = big ? typeof value === 'bigint' : Number.isInteger(value)
      if (!right) throw new ValueError(struct, path, at, value, big ? 'is not a bigint' : 'is not an integer')
      const n = value as number | bigint
      if (n < type.min || n > type.max) throw new ValueError(struct, path, at, value, `does not fit ${type.name}`)
      return
    }
    case 'bytes':
      if (!(value instanceof Uint8Array)) throw new ValueError(struct, path, at, value, 'is not a Uint8Array')
      if (value.length !== type.size) throw new LengthError(struct, path, type.size, value.length)
      return
    case 'array':
      if (!Array.isArray(value)) throw new ValueError(struct, path, at, value, 'is not an array')
      if (value.length !== type.count) throw new LengthError(struct, path, type.count, value.length)
      for (let i = 0; i < type.count; i++)
        check(type.element, value[i], struct, `${path}[${i}]`, at + i * type.element.size)
      return
    case 'struct':
      checkFields(type, value, struct, `${path}.`, at)
  }
}
