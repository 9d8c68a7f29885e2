/** Values of a JSON file with their places: each look at one either gives what is wanted, or a {@link FileError} with the path. */
import { FileError } from '../cli/errors.ts'
import { type Json, JsonError, JsonNumber, type JsonObject, parseJson } from './parse.ts'
import { shown, stepOf } from './path.ts'

/** More digits than this are beyond 64 bits, whatever they are: nothing is computed from them. */
const MOST_DIGITS = 20
const MOST_HEX_DIGITS = 16

export class Item {
  readonly #parent: Item | null
  readonly #key: string | number
  readonly #value: Json

  private constructor(parent: Item | null, key: string | number, value: Json) {
    this.#parent = parent
    this.#key = key
    this.#value = value
  }

  /** The whole of `text`. FileError for what is no JSON. */
  static parse(text: string): Item {
    try {
      return new Item(null, '$', parseJson(text))
    } catch (error) {
      throw error instanceof JsonError ? new FileError(`${error.path} ${error.message}`) : error
    }
  }

  /** `$.requests[2].length`. */
  get path(): string {
    return this.#parent === null ? '$' : this.#parent.path + stepOf(this.#key)
  }

  /** Says what is wrong with this value: `problem` goes on where its path ends. */
  fail(problem: string): never {
    throw new FileError(`${this.path} ${problem}`)
  }

  /** The members of an object that has all of `keys`, maybe some of `optional`, and no others. */
  members<K extends string, O extends string = never>(
    keys: readonly K[],
    optional: readonly O[] = [],
  ): Record<K, Item> & Partial<Record<O, Item>> {
    const object = this.#object()
    for (const key of object.keys())
      if (!(keys as readonly string[]).includes(key) && !(optional as readonly string[]).includes(key))
        new Item(this, key, null).fail(`is unknown: the keys here are ${[...keys, ...optional].join(', ')}`)
    for (const key of keys) if (!object.has(key)) new Item(this, key, null).fail('is missing')
    return Object.fromEntries([...object].map(([key, value]) => [key, new Item(this, key, value)])) as ReturnType<
      typeof this.members<K, O>
    >
  }

  /** The members of an object with whatever keys, by key. */
  entries(): [key: string, value: Item][] {
    return [...this.#object()].map(([key, value]) => [key, new Item(this, key, value)])
  }

  get length(): number {
    return this.#array().length
  }

  /** Element `index` of an array. */
  at(index: number): Item {
    return new Item(this, index, this.#array()[index]!)
  }

  /** The elements of an array, one after the other. */
  *[Symbol.iterator](): Generator<Item> {
    const { length } = this.#array()
    for (let i = 0; i < length; i++) yield this.at(i)
  }

  text(): string {
    const value = this.#value
    return typeof value === 'string' ? value : this.fail(`is ${kindOf(value)}, not a string`)
  }

  oneOf<const T extends string>(words: readonly T[]): T {
    const text = this.text()
    return words.find((word) => word === text) ?? this.fail(`is ${shown(text)}, not one of ${words.join(', ')}`)
  }

  /** A whole number of at most `bits` (up to 64) bits: a JSON integer, or a string of 0x and hexadecimal digits of any case. */
  integer(bits: number): bigint {
    const value = this.#value
    const number =
      value instanceof JsonNumber
        ? this.#decimal(value.literal)
        : typeof value === 'string'
          ? this.#hexadecimal(value)
          : this.fail(`is ${kindOf(value)}, not a number`)
    if (number === null || number >> BigInt(bits) !== 0n) this.fail(`has more than ${bits} bits`)
    return number
  }

  // Null: beyond 64 bits.
  #decimal(literal: string): bigint | null {
    if (literal.startsWith('-')) this.fail(`is negative: ${shorten(literal)}`)
    if (/[.eE]/.test(literal)) this.fail(`is no integer: ${shorten(literal)}`)
    return literal.length > MOST_DIGITS ? null : BigInt(literal)
  }

  #hexadecimal(text: string): bigint | null {
    if (!/^0x/i.test(text) || text.length === 2 || /[^0-9a-f]/i.test(text.slice(2)))
      this.fail(`is ${shown(text)}: numbers are JSON integers or strings of 0x and hexadecimal digits`)
    let first = 2
    while (text[first] === '0') first++
    return text.length - first > MOST_HEX_DIGITS ? null : BigInt(`0x0${text.slice(first)}`)
  }

  #object(): JsonObject {
    const value = this.#value
    return value instanceof Map ? (value as JsonObject) : this.fail(`is ${kindOf(value)}, not an object`)
  }

  #array(): readonly Json[] {
    const value = this.#value
    return Array.isArray(value) ? (value as readonly Json[]) : this.fail(`is ${kindOf(value)}, not an array`)
  }
}

function kindOf(value: Json): string {
  if (value === null) return 'null'
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'string') return `the string ${shown(value)}`
  if (value instanceof JsonNumber) return `the number ${shorten(value.literal)}`
  return Array.isArray(value) ? 'an array' : 'an object'
}

const shorten = (literal: string): string => (literal.length > 40 ? `${literal.slice(0, 40)}…` : literal)
