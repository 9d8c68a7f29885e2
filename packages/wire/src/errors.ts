import { hex } from './hex.ts'

/**
 * What went wrong, for programs: one code per class of this family. Closed; a new failure gets a new code and a new
 * class here. Only mistakes of a *programmer* are thrown. What a guest or a device can cause is a value (an errno, a
 * grant status, a fault record).
 */
export type ErrorCode = 'layout' | 'length' | 'value' | 'bounds' | 'state' | 'config' | 'unsupported' | 'invariant'

/**
 * The base of every error that iospace throws. `code` is for programs, `message` for people, the other fields are the
 * facts.
 */
export abstract class IospaceError extends Error {
  /** Which failure this is. */
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/**
 * A struct was declared in a way that cannot be an ABI: alignment, a forbidden field name, a size that does not fit.
 */
export class LayoutError extends IospaceError {
  readonly struct: string
  readonly field: string | undefined

  constructor(struct: string, field: string | undefined, problem: string) {
    super('layout', `${place(struct, field)}: ${problem}`)
    this.struct = struct
    this.field = field
  }
}

/** A buffer or list has another length than the layout has. Lengths in bytes, or in elements for an array field. */
export class LengthError extends IospaceError {
  readonly struct: string
  readonly field: string | undefined
  readonly expected: number
  readonly actual: number

  constructor(struct: string, field: string | undefined, expected: number, actual: number) {
    super('length', `${place(struct, field)}: length ${hex(actual)} where ${hex(expected)} is needed`)
    this.struct = struct
    this.field = field
    this.expected = expected
    this.actual = actual
  }
}

/**
 * A value does not fit the field or the branded type it is meant for. `offset` is in bytes from the start of the
 * struct.
 */
export class ValueError extends IospaceError {
  readonly struct: string
  readonly field: string | undefined
  readonly offset: number | undefined
  readonly value: unknown

  constructor(struct: string, field: string | undefined, offset: number | undefined, value: unknown, problem: string) {
    const where = offset === undefined ? '' : ` at ${hex(offset)}`
    super('value', `${place(struct, field)}${where}: ${hex(value)} ${problem}`)
    this.struct = struct
    this.field = field
    this.offset = offset
    this.value = value
  }
}

/** An access of `length` bytes at `offset` leaves a memory or buffer of `limit` bytes. */
export class BoundsError extends IospaceError {
  readonly what: string
  readonly offset: number
  readonly length: number
  readonly limit: number

  constructor(what: string, offset: number, length: number, limit: number) {
    super('bounds', `${what}: ${hex(length)} bytes at ${hex(offset)} leave a range of ${hex(limit)} bytes`)
    this.what = what
    this.offset = offset
    this.length = length
    this.limit = limit
  }
}

/** An object was used in a state that does not allow it: disposed, not started, started twice. */
export class StateError extends IospaceError {
  readonly what: string

  constructor(what: string, problem: string) {
    super('state', `${what}: ${problem}`)
    this.what = what
  }
}

/** A description or option that the program was given makes no sense. */
export class ConfigError extends IospaceError {
  readonly what: string
  readonly value: unknown

  constructor(what: string, value: unknown, problem: string) {
    super('config', `${what}: ${hex(value)} ${problem}`)
    this.what = what
    this.value = value
  }
}

/** The program asked for something that this model or this host does not have. */
export class UnsupportedError extends IospaceError {
  readonly what: string

  constructor(what: string, problem: string) {
    super('unsupported', `${what}: ${problem}`)
    this.what = what
  }
}

/** A rule that iospace keeps by itself is broken: a bug of iospace, never of its caller. */
export class InvariantError extends IospaceError {
  readonly rule: string

  constructor(rule: string, problem: string) {
    super('invariant', `${rule}: ${problem}`)
    this.rule = rule
  }
}

function place(struct: string, field: string | undefined): string {
  return field === undefined ? struct : `${struct}.${field}`
}
