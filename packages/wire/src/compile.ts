import type { StructCodecs } from './codec.ts'
import { BoundsError } from './errors.ts'
import type { ArrayType, FieldType, StructType } from './layout.ts'

/** Whether this host lets a program make code from text; a strict content security policy does not. */
export const canCompile: boolean = (() => {
  try {
    return new Function('return true')() === true
  } catch {
    return false
  }
})()

/**
 * Codecs as straight-line code made from the layout. The only text that reaches the compiler is this file's own,
 * numbers, and names that `declareStruct` has let through.
 *
 * In the code: v is the view, o the struct's offset in it, t the target, x the value, i0, i1, … the indices of loops.
 */
export function compile(layout: StructType): StructCodecs {
  const body = `'use strict';
function bounds(v, o) { if (!(o >= 0 && o + ${layout.size} <= v.byteLength)) fail(v, o); }
return {
  read(v, o) { bounds(v, o); return ${read(layout, start)}; },
  readInto(v, o, t) { bounds(v, o); ${readInto(layout, start, 't')} return t; },
  write(v, o, x) { bounds(v, o); ${write(layout, start, 'x')} },
  firstNonZeroPad(v, o) { bounds(v, o); ${pads(layout, start, '')} return undefined; },
};`
  const make = new Function('fail', 'slice', body) as (fail: Fail, slice: typeof sliceOf) => StructCodecs
  return make((view, at) => {
    throw new BoundsError(layout.name, at, layout.size, view.byteLength)
  }, sliceOf)
}

type Fail = (view: DataView, at: number) => never

function sliceOf(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length).slice()
}

/** Where the code is in the struct: a constant, the text of the loops' part, and how many loops there are around it. */
interface Place {
  readonly constant: number
  readonly variable: string
  readonly loops: number
}

const start: Place = { constant: 0, variable: '', loops: 0 }
const text = (at: Place): string => `o + ${at.constant}${at.variable}`
const later = (at: Place, bytes: number): Place => ({ ...at, constant: at.constant + bytes })
const index = (at: Place): string => `i${at.loops}`
const element = (at: Place, size: number): Place => ({
  ...at,
  variable: `${at.variable} + ${index(at)} * ${size}`,
  loops: at.loops + 1,
})

function read(type: FieldType, at: Place): string {
  switch (type.kind) {
    case 'number':
      return `v.${type.get}(${text(at)}, true)`
    case 'bytes':
      return `slice(v, ${text(at)}, ${type.size})`
    case 'array': {
      const item = read(type.element, element(at, type.element.size))
      return `Array.from({ length: ${type.count} }, (_, ${index(at)}) => ${item})`
    }
    case 'struct': {
      const members = type.fields.filter((field) => field.type.kind !== 'pad')
      const texts = members.map((field) => `${field.name}: ${read(field.type, later(at, field.offset))}`)
      return `({ ${texts.join(', ')} })`
    }
    case 'pad':
      return 'undefined'
  }
}

function readInto(type: FieldType, at: Place, target: string): string {
  switch (type.kind) {
    case 'number':
      return `${target} = ${read(type, at)};`
    case 'bytes':
      return eachByte(at, type.size, (byte) => `${target}[${index(at)}] = v.getUint8(${byte});`)
    case 'array':
      return eachElement(at, type, (item) => readInto(type.element, item, `${target}[${index(at)}]`))
    case 'struct':
      return type.fields
        .map((field) => readInto(field.type, later(at, field.offset), `${target}.${field.name}`))
        .join(' ')
    case 'pad':
      return ''
  }
}

function write(type: FieldType, at: Place, value: string): string {
  switch (type.kind) {
    case 'number':
      return `v.${type.set}(${text(at)}, ${value}, true);`
    case 'bytes':
      return eachByte(at, type.size, (byte) => `v.setUint8(${byte}, ${value}[${index(at)}]);`)
    case 'array':
      return eachElement(at, type, (item) => write(type.element, item, `${value}[${index(at)}]`))
    case 'struct':
      return type.fields.map((field) => write(field.type, later(at, field.offset), `${value}.${field.name}`)).join(' ')
    case 'pad':
      return eachByte(at, type.size, (byte) => `v.setUint8(${byte}, 0);`)
  }
}

/** `path` is the inside of a template literal, so that the name carries the indices of the arrays around it. */
function pads(type: FieldType, at: Place, path: string): string {
  switch (type.kind) {
    case 'pad':
      return eachByte(at, type.size, (byte) => `if (v.getUint8(${byte}) !== 0) return \`${path}\`;`)
    case 'array':
      return hasPads(type) ? eachElement(at, type, (item) => pads(type.element, item, `${path}[\${${index(at)}}]`)) : ''
    case 'struct': {
      const prefix = path === '' ? '' : `${path}.`
      return type.fields.map((field) => pads(field.type, later(at, field.offset), prefix + field.name)).join(' ')
    }
    case 'number':
    case 'bytes':
      return ''
  }
}

function hasPads(type: FieldType): boolean {
  if (type.kind === 'struct') return type.fields.some((field) => hasPads(field.type))
  return type.kind === 'array' ? hasPads(type.element) : type.kind === 'pad'
}

function eachByte(at: Place, size: number, body: (byte: string) => string): string {
  return loop(at, size, body(text(element(at, 1))))
}

function eachElement(at: Place, { count, element: { size } }: ArrayType, body: (item: Place) => string): string {
  return loop(at, count, body(element(at, size)))
}

function loop(at: Place, count: number, body: string): string {
  const i = index(at)
  return `for (let ${i} = 0; ${i} < ${count}; ${i}++) { ${body} }`
}
