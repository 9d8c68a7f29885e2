/** Walks as trees for people. */
import type { Style } from '../report/style.ts'
import type { FieldValue } from './fields.ts'
import type { WalkInput } from './input.ts'
import { hex, rightsText, type WalkOutcome, type WalkRequest, type WalkResult, type WalkStep } from './result.ts'

/** One tree per request, in pieces. `results` are those of the requests of `input`. */
export function* walksText(input: WalkInput, results: Iterable<WalkResult>, style: Style): Generator<string> {
  const { iommu, unit, personality, requests } = input
  yield `${style.bold(`${iommu} ${personality}`)}: ${unit.describe(personality)}\n`
  let i = 0
  for (const { outcome, steps } of results) {
    const lines = [
      '',
      style.bold(requestText(requests[i++]!)),
      ...steps.flatMap((step) => stepLines(step, style)),
      ...outcomeLines(outcome, style),
    ]
    yield `${lines.join('\n')}\n`
  }
}

/** Reserved bits that are named one by one. */
const MOST_PLACES = 6

function requestText({ requester, write, address, length }: WalkRequest): string {
  const bus = (requester >> 8).toString(16).padStart(2, '0')
  const device = ((requester >> 3) & 31).toString(16).padStart(2, '0')
  const bytes = `${length} ${length === 1 ? 'byte' : 'bytes'}`
  return `${bus}:${device}.${requester & 7} ${write ? 'writes' : 'reads'} ${bytes} at ${hex(address)}`
}

function stepLines({ entry, level, address, bytes, value, fields, rights }: WalkStep, style: Style): string[] {
  const name = `${entry}${level === null ? '' : ` ${level}`}`
  const granted = rights === 0 ? style.bad('--') : rightsText(rights)
  return [
    `├─ ${name.padEnd(8)} ${hex(address)}: ${hexWords(value, bytes)}  ${granted}`,
    `│    ${fields.map((field) => fieldText(field, style)).join('  ')}`,
  ]
}

function fieldText({ name, value, isNumber, reserved, means }: FieldValue, style: Style): string {
  if (reserved !== null) {
    const shown = reserved.length > MOST_PLACES ? [...reserved.slice(0, MOST_PLACES), '…'] : reserved
    return style.bad(`${reserved.length === 1 ? 'bit' : 'bits'} ${shown.join(', ')} reserved`)
  }
  return style.faint(`${name}=${isNumber && value < 10n ? value : hex(value)}${means === null ? '' : ` (${means})`}`)
}

function outcomeLines(outcome: WalkOutcome, style: Style): string[] {
  switch (outcome.kind) {
    case 'page': {
      const { machineAddress, pageSize, rights } = outcome
      const where = pageSize === 0 ? 'untranslated' : `in a page of ${sizeText(pageSize)}`
      return [`└─ ${style.good(hex(machineAddress))} ${where}, ${rightsText(rights)}`]
    }
    case 'fault': {
      const { code, name, record } = outcome
      return [
        `└─ ${style.bad(`fault${code === 0 ? '' : ` ${hex(BigInt(code))}`}: ${name}`)}`,
        `     ${record === null ? 'nothing is recorded' : `recorded as ${record.map(hex).join(' ')}`}`,
      ]
    }
    case 'interrupt':
      return ['└─ an interrupt message, not translated']
  }
}

/** An entry of `bytes` in words of at most 64 bits, lowest first: that one with all its digits, so that entries can be compared by eye. */
function hexWords(value: bigint, bytes: number): string {
  const size = Math.min(bytes, 8)
  const words = Array.from({ length: bytes / size }, (_, i) => BigInt.asUintN(8 * size, value >> BigInt(64 * i)))
  return words.map((word, i) => word.toString(16).padStart(i === 0 ? 2 * size : 0, '0')).join(' ')
}

function sizeText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  const unit = Math.floor(Math.log2(bytes) / 10)
  return `${bytes / 1024 ** unit} ${units[unit]}`
}
