/** `iospace walk`. */
import { resolve } from 'node:path'
import { FileError, UsageError } from '../cli/errors.ts'
import { type OptionSpecs, parseOptions } from '../cli/options.ts'
import type { Verb } from '../cli/verb.ts'
import { readText } from '../files/read-text.ts'
import { style } from '../report/style.ts'
import { readWalkInput, type WalkInput } from './input.ts'
import { resultsJson, type WalkResult } from './result.ts'
import { walksText } from './text.ts'

const WALK = 'walk'
/** Characters that are written before a slow reader is waited for. */
const AT_ONCE = 1 << 20
const OPERAND = 'FILE.json'

const WALK_OPTIONS = {
  json: { help: 'print the results as one JSON object' },
} as const satisfies OptionSpecs

export const walkVerb: Verb = {
  name: WALK,
  summary: 'shows an IOMMU’s table walk entry by entry, out of a file with its tables',
  operands: OPERAND,
  options: WALK_OPTIONS,
  notes: [
    'FILE.json says which unit, its registers, what is in memory, and the requests to judge:',
    '  {"iommu": "gart", "personality": "k8",',
    '   "registers": {"F3x90": "0x1", "F3x94": "0x20", "F3x98": "0x10000"},',
    '   "memory": [{"address": "0x1000000", "u32le": ["0x2345001"]}],',
    '   "absent": [{"address": "0x2000000", "length": "0x1000"}],',
    '   "requests": [{"device": "00:02.0", "access": "read", "address": "0x40000010", "length": 4}]}',
    'Memory that is not listed reads as zero. A request that faults is a result, with status 0;',
    'a file with a mistake is refused, with its place and status 2. docs/reference/cli-walk.md',
    'tells every unit’s personalities and registers, and what the results mean.',
  ].join('\n'),
  run: async (host, argv) => {
    const words: string[] = []
    const { json } = parseOptions(WALK, WALK_OPTIONS, argv, words)
    const [file, more] = words
    if (file === undefined) throw new UsageError(`${WALK} needs a file: ${WALK} ${OPERAND}`)
    if (more !== undefined) throw new UsageError(`${WALK} takes one file, not also “${more}”`)
    const input = read(file, resolve(host.folder, file))
    const results = judged(input)
    const pieces = json ? resultsJson(results) : walksText(input, results, style(host.out.colours))
    let written = 0
    for (const piece of pieces) {
      host.out.write(piece)
      written += piece.length
      if (written < AT_ONCE) continue
      written = 0
      if (!(await host.out.drained())) break
    }
    return 0
  },
}

/** One after the other: the results of a large file together would need more memory than the file. */
function* judged({ unit, personality, registers, memory, requests }: WalkInput): Generator<WalkResult> {
  const judge = unit.judge(personality, registers, memory)
  for (const request of requests) {
    memory.forgetFailure()
    yield judge(request)
  }
}

function read(name: string, path: string): WalkInput {
  const text = readText(name, path)
  try {
    return readWalkInput(text)
  } catch (error) {
    throw error instanceof FileError ? new FileError(`${name}: ${error.message}`) : error
  }
}
