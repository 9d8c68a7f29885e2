/** Options of a verb: what they are called, what they take, and their values out of a command line, over `parseArgs` of node:util. */
import { parseArgs } from 'node:util'
import { UsageError } from './errors.ts'

export interface OptionSpec {
  /** How the value is called in the help; absent for a flag. */
  readonly value?: string
  readonly help: string
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>

export type OptionValues<S extends OptionSpecs> = {
  readonly [K in keyof S]: S[K] extends { readonly value: string } ? string | undefined : boolean
}

/**
 * The values of `specs` in `argv`. Every mistake (unknown option, missing or superfluous value, an option given twice, a stray word) is
 * a {@link UsageError}. `verb` is for the message. A verb that takes words beside its options gives a list, `operands`, to put them in.
 */
export function parseOptions<S extends OptionSpecs>(
  verb: string,
  specs: S,
  argv: readonly string[],
  operands: string[] | null = null,
): OptionValues<S> {
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, spec]) => [
      name,
      { type: spec.value === undefined ? ('boolean' as const) : ('string' as const) },
    ]),
  )
  // `pnpm demo -- --image FILE` hands the dashes through, so they mean nothing here; a file may be called ./-name.
  const args = argv.filter((word) => word !== '--')
  const { tokens } = parseArgs({ args, options, strict: false, allowPositionals: true, tokens: true })
  const values: Record<string, string | boolean> = {}
  for (const token of tokens) {
    if (token.kind === 'positional') {
      if (operands === null) throw new UsageError(`${verb} takes no “${token.value}”`)
      operands.push(token.value)
    }
    if (token.kind !== 'option') continue
    const spec = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined
    if (spec === undefined) throw new UsageError(`${verb} has no option ${token.rawName}${nearest(token.name, specs)}`)
    if (Object.hasOwn(values, token.name)) throw new UsageError(`${token.rawName} was given twice`)
    if (spec.value === undefined) {
      if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`)
      values[token.name] = true
    } else {
      // `--image --json` is a forgotten value more often than a file of that name; `--image=--json` still names it.
      const missing = token.value === undefined || (!token.inlineValue && token.value.startsWith('--'))
      if (missing || token.value === '')
        throw new UsageError(`${token.rawName} needs a value: ${token.rawName} ${spec.value}`)
      values[token.name] = token.value
    }
  }
  for (const [name, spec] of Object.entries(specs)) if (spec.value === undefined) values[name] ??= false
  return values as OptionValues<S>
}

/** The value of an option that has a few words to choose from. */
export function oneOf<const T extends string>(option: string, words: readonly T[], value: string): T {
  const found = words.find((word) => word === value)
  if (found === undefined) throw new UsageError(`${option} is one of ${words.join(', ')}, not “${value}”`)
  return found
}

/** A whole number from 0 to 2^32−1, decimal or 0x…. */
export function seedOf(option: string, value: string): number {
  const seed = /^(0x[0-9a-f]+|[0-9]+)$/i.test(value) ? Number(value) : NaN
  if (!(seed <= 0xffff_ffff)) throw new UsageError(`${option} is a whole number from 0 to 4294967295, not “${value}”`)
  return seed
}

function nearest(name: string, specs: OptionSpecs): string {
  const close = Object.keys(specs).find((known) => distance(name, known) <= 2)
  return close === undefined ? '' : ` (did you mean --${close}?)`
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}
