/** Runs `iospace walk` on a file that a test describes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { main } from '../src/cli/main.ts'
import { VERBS } from '../src/verbs.ts'
import { fakeHost } from './host.ts'

export interface Step {
  readonly entry: string
  readonly level?: number
  readonly address: string
  readonly value: string
  readonly bits: Readonly<Record<string, number | string>>
  readonly access: string
}

/** One element of `results`; which keys it has is for the test to say. */
export interface Result {
  readonly machineAddress?: string
  readonly pageSize?: number
  readonly access?: string
  readonly fault?: { readonly code: number; readonly name: string }
  readonly record?: { readonly words: readonly string[] } | null
  readonly interrupt?: boolean
  readonly steps: readonly Step[]
}

/** `iospace walk FILE.json` with `content` in the file: text or bytes as they are, anything else as JSON. */
export async function walk(content: unknown, ...argv: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'iospace-walk-'))
  try {
    const text = typeof content === 'string' || content instanceof Uint8Array ? content : JSON.stringify(content)
    writeFileSync(join(folder, 'file.json'), text)
    const { host, written } = fakeHost({ folder })
    const status = await main(host, VERBS, ['walk', 'file.json', ...argv])
    return { status, ...written }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The results for a file that is as it should be. */
export async function results(file: object): Promise<readonly Result[]> {
  const { status, out, err } = await walk(file, '--json')
  expect({ status, err }).toEqual({ status: 0, err: '' })
  expect(out.endsWith('}\n')).toBe(true)
  const answer = JSON.parse(out) as { readonly results: readonly Result[] }
  expect(Object.keys(answer)).toEqual(['results'])
  return answer.results
}

/** A result without its steps. */
export const outcome = ({ steps: _steps, ...rest }: Result): Omit<Result, 'steps'> => rest

/** `entry level address value` of each step. */
export const steps = (result: Result): string[] =>
  result.steps.map(({ entry, level, address, value }) =>
    [entry, level, address, value].filter((x) => x !== undefined).join(' '),
  )

/** Words of memory by address, as a file has them. */
export const memory = (words: Readonly<Record<string, string>>, key = 'u64le'): object[] =>
  Object.entries(words).map(([address, word]) => ({ address, [key]: [word] }))

export interface Request {
  readonly device: string
  readonly access: string
  readonly address: string | number
  readonly length: string | number
}

export const request = (device: string, access: 'read' | 'write', address: string, length = 4): Request => ({
  device,
  access,
  address,
  length,
})
