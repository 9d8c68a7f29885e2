/**
 * JSON (RFC 8259) as a program's input deserves it: integers keep every digit, a key given twice is an error, and an error knows its
 * place. `JSON.parse` rounds, takes the last of two equal keys, and counts characters.
 */
import { pathOf } from './path.ts'

/** A number as it was written. */
export class JsonNumber {
  readonly literal: string

  constructor(literal: string) {
    this.literal = literal
  }
}

export type JsonObject = ReadonlyMap<string, Json>
export type Json = null | boolean | string | JsonNumber | JsonObject | readonly Json[]

/** What is no JSON: the path of the innermost value that was begun, and a sentence about it. */
export class JsonError extends Error {
  readonly path: string

  constructor(path: string, message: string) {
    super(message)
    this.name = 'JsonError'
    this.path = path
  }
}

/** No file that somebody means nests deeper; a stack is finite. */
const DEEPEST = 64

/** The value that `text` is. JsonError for anything else. */
export function parseJson(text: string): Json {
  return new Parser(text).whole()
}

class Parser {
  readonly #text: string
  #at = 0
  readonly #path: (string | number)[] = []

  constructor(text: string) {
    this.#text = text
  }

  whole(): Json {
    const value = this.#value()
    this.#blank()
    if (this.#at < this.#text.length) this.#fail('the end of the file is expected')
    return value
  }

  #value(): Json {
    this.#blank()
    const char = this.#text[this.#at]
    switch (char) {
      case '{':
        return this.#object()
      case '[':
        return this.#array()
      case '"':
        return this.#string()
      case 't':
        return this.#word('true', true)
      case 'f':
        return this.#word('false', false)
      case 'n':
        return this.#word('null', null)
      default:
        if (char === '-' || isDigit(char)) return this.#number()
        return this.#fail('a value is expected')
    }
  }

  #object(): JsonObject {
    const members = new Map<string, Json>()
    this.#open()
    if (this.#takes('}')) return members
    do {
      this.#blank()
      if (this.#text[this.#at] !== '"') this.#fail('a key in double quotes is expected')
      const key = this.#string()
      if (members.has(key))
        throw new JsonError(pathOf([...this.#path, key]), `is given twice, again in ${this.#place()}`)
      this.#path.push(key)
      this.#expect(':')
      members.set(key, this.#value())
      this.#path.pop()
    } while (this.#takes(','))
    this.#expect('}', '“,” or “}”')
    return members
  }

  #array(): readonly Json[] {
    const elements: Json[] = []
    this.#open()
    if (this.#takes(']')) return elements
    do {
      this.#path.push(elements.length)
      elements.push(this.#value())
      this.#path.pop()
    } while (this.#takes(','))
    this.#expect(']', '“,” or “]”')
    return elements
  }

  #open(): void {
    if (this.#path.length >= DEEPEST) this.#fail(`less than ${DEEPEST + 1} levels of nesting are expected`)
    this.#at++
  }

  #string(): string {
    const text = this.#text
    const start = this.#at
    let plain = true
    for (;;) {
      const code = text.charCodeAt(++this.#at)
      if (code === QUOTE) break
      // NaN, too: the end of the text.
      if (!(code >= 0x20)) this.#fail('a closing double quote is expected')
      if (code === BACKSLASH) {
        plain = false
        this.#at++
      }
    }
    const token = text.slice(start, ++this.#at)
    if (plain) return token.slice(1, -1)
    try {
      return JSON.parse(token) as string
    } catch {
      this.#at = start
      return this.#fail('a string with valid escapes is expected')
    }
  }

  #number(): JsonNumber {
    const start = this.#at
    if (this.#text[this.#at] === '-') this.#at++
    if (this.#text[this.#at] === '0') this.#at++
    else this.#digits()
    if (this.#text[this.#at] === '.') {
      this.#at++
      this.#digits()
    }
    if (this.#text[this.#at] === 'e' || this.#text[this.#at] === 'E') {
      this.#at++
      if (this.#text[this.#at] === '+' || this.#text[this.#at] === '-') this.#at++
      this.#digits()
    }
    return new JsonNumber(this.#text.slice(start, this.#at))
  }

  #digits(): void {
    if (!isDigit(this.#text[this.#at])) this.#fail('a digit is expected')
    while (isDigit(this.#text[this.#at])) this.#at++
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#fail('a value is expected')
    this.#at += word.length
    return value
  }

  #takes(char: string): boolean {
    this.#blank()
    if (this.#text[this.#at] !== char) return false
    this.#at++
    return true
  }

  #expect(char: string, what = `“${char}”`): void {
    if (!this.#takes(char)) this.#fail(`${what} is expected`)
  }

  #blank(): void {
    for (;;) {
      const char = this.#text[this.#at]
      if (char !== ' ' && char !== '\n' && char !== '\r' && char !== '\t') return
      this.#at++
    }
  }

  #fail(expected: string): never {
    throw new JsonError(pathOf(this.#path), `is no JSON: ${expected} in ${this.#place()}`)
  }

  #place(): string {
    const before = this.#text.slice(0, this.#at)
    const line = before.split('\n').length
    return `line ${line}, column ${this.#at - before.lastIndexOf('\n')}`
  }
}

const QUOTE = 0x22
const BACKSLASH = 0x5c

const isDigit = (char: string | undefined): boolean => char !== undefined && char >= '0' && char <= '9'
