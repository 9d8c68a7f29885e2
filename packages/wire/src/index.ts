export * from './brands.ts'
export { dump, dumpRows, type DumpRow } from './dump.ts'
export * from './errors.ts'
export {
  array,
  bytes,
  i16,
  i32,
  i64,
  i8,
  pad,
  u16,
  u32,
  u64,
  u8,
  type Field,
  type Fields,
  type Pad,
  type Value,
  type ValueOf,
} from './field.ts'
export { hex, hexBytes, parseHex } from './hex.ts'
export type {
  ArrayType,
  BytesType,
  FieldLayout,
  FieldType,
  NumberType,
  PadType,
  StructOptions,
  StructType,
} from './layout.ts'
export { isStruct, struct, type Path, type Struct } from './struct.ts'
