import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { oneOf, parseOptions, seedOf, type OptionSpecs } from '../src/cli/options.ts'
import { UsageError } from '../src/cli/errors.ts'

const specs = {
  image: { value: 'FILE', help: 'a file' },
  seed: { value: 'N', help: 'a number' },
  json: { help: 'as JSON' },
} as const satisfies OptionSpecs

const parse = (...argv: string[]) => parseOptions('run storage', specs, argv)
const complaint = (...argv: string[]): string => {
  try {
    parse(...argv)
  } catch (error) {
    if (error instanceof UsageError) return error.message
    throw error
  }
  return ''
}

describe('options of a verb', () => {
  test('absent options are undefined, absent flags false', () => {
    expect(parse()).toEqual({ json: false })
  })

  test('values come as the next word or behind an equals sign', () => {
    expect(parse('--image', 'a b', '--json')).toEqual({ image: 'a b', json: true })
    expect(parse('--image=--json')).toEqual({ image: '--json', json: false })
  })

  test('the dashes that `pnpm demo -- …` hands through mean nothing', () => {
    expect(parse('--', '--image', 'x')).toEqual({ image: 'x', json: false })
  })

  test.each([
    [['--imgae', 'x'], 'run storage has no option --imgae (did you mean --image?)'],
    [['--frobnicate'], 'run storage has no option --frobnicate'],
    [['--constructor'], 'run storage has no option --constructor'],
    [['-x'], 'run storage has no option -x'],
    [['--image'], '--image needs a value: --image FILE'],
    [['--image', '--json'], '--image needs a value: --image FILE'],
    [['--image='], '--image needs a value: --image FILE'],
    [['--json=yes'], '--json takes no value'],
    [['--json', '--json'], '--json was given twice'],
    [['stray'], 'run storage takes no “stray”'],
    [['--json', 'stray'], 'run storage takes no “stray”'],
  ])('%j is refused in one sentence', (argv, message) => {
    expect(complaint(...argv)).toBe(message)
  })

  test('whatever the words, the answer is values or a UsageError', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom('--', '-', '--image', '--seed', '--json', '--image='))),
        (argv) => {
          try {
            const values = parse(...argv)
            return typeof values.json === 'boolean'
          } catch (error) {
            return error instanceof UsageError && !error.message.includes('\n\n')
          }
        },
      ),
    )
  })
})

describe('values', () => {
  test('a seed is a whole number of 32 bits, decimal or hexadecimal', () => {
    expect(seedOf('--seed', '0')).toBe(0)
    expect(seedOf('--seed', '4294967295')).toBe(0xffff_ffff)
    expect(seedOf('--seed', '0xFF')).toBe(255)
    for (const wrong of ['', '-1', '1.5', '1e3', '4294967296', 'x', '0x', '99999999999999999999', ' 1']) {
      expect(() => seedOf('--seed', wrong), wrong).toThrow(UsageError)
    }
  })

  test('one of a few words, and nothing that merely begins like one', () => {
    expect(oneOf('--dma', ['auto', 'xen'], 'xen')).toBe('xen')
    expect(() => oneOf('--dma', ['auto', 'xen'], 'xe')).toThrow('--dma is one of auto, xen, not “xe”')
  })
})
