/** What a walk gives, for people and for programs. */
import type { FieldValue } from './fields.ts'

export interface WalkRequest {
  /** Bus, device and function as 16 bits. */
  readonly requester: number
  readonly write: boolean
  readonly address: bigint
  readonly length: number
}

/** Read 1, write 2. */
export type Rights = number

/** One entry that was read. */
export interface WalkStep {
  /** What it is: `root`, `context`, `page`, … */
  readonly entry: string
  /** Level of its table, 1 is the lowest; null where there are none. */
  readonly level: number | null
  readonly address: bigint
  readonly bytes: number
  /** As one number: entries of 16 and 32 bytes too. */
  readonly value: bigint
  readonly fields: readonly FieldValue[]
  /** What this entry and those before it grant. */
  readonly rights: Rights
}

export interface WalkPage {
  readonly kind: 'page'
  /** Of the request's first byte. */
  readonly machineAddress: bigint
  /** Bytes; 0 where nothing is translated. */
  readonly pageSize: number
  readonly rights: Rights
}

export interface WalkFault {
  readonly kind: 'fault'
  /** The hardware's own number, 0 where it has none. */
  readonly code: number
  readonly name: string
  /** Two 64-bit words as hardware logs them, null where it logs nothing. */
  readonly record: readonly [low: bigint, high: bigint] | null
}

export type WalkOutcome = WalkPage | WalkFault | { readonly kind: 'interrupt' }

export interface WalkResult {
  readonly outcome: WalkOutcome
  readonly steps: readonly WalkStep[]
}

/** A fault of a unit that records nothing. */
export const unrecorded = (name: string): WalkFault => ({ kind: 'fault', code: 0, name, record: null })

/** `rw`, `r`, `w`, or nothing. */
export const rightsText = (rights: Rights): string => `${(rights & 1) === 0 ? '' : 'r'}${(rights & 2) === 0 ? '' : 'w'}`

/** `0x1f`. */
export const hex = (value: bigint): string => `0x${value.toString(16)}`

/** The results as the one object that `--json` prints, in pieces. */
export function* resultsJson(results: Iterable<WalkResult>): Generator<string> {
  let before = '{"results":['
  for (const result of results) {
    yield before + JSON.stringify(resultJson(result))
    before = ','
  }
  yield before === ',' ? ']}\n' : `${before}]}\n`
}

function resultJson({ outcome, steps }: WalkResult): object {
  return { ...outcomeJson(outcome), steps: steps.map(stepJson) }
}

function outcomeJson(outcome: WalkOutcome): object {
  switch (outcome.kind) {
    case 'page':
      return {
        machineAddress: hex(outcome.machineAddress),
        pageSize: outcome.pageSize,
        access: rightsText(outcome.rights),
      }
    case 'fault':
      return {
        fault: { code: outcome.code, name: outcome.name },
        record: outcome.record === null ? null : { words: outcome.record.map(hex) },
      }
    case 'interrupt':
      return { interrupt: true }
  }
}

function stepJson({ entry, level, address, value, fields, rights }: WalkStep): object {
  return {
    entry,
    ...(level === null ? {} : { level }),
    address: hex(address),
    value: hex(value),
    bits: Object.fromEntries(
      fields.map((field) => [field.name, field.isNumber ? Number(field.value) : hex(field.value)]),
    ),
    access: rightsText(rights),
  }
}
