import { describe, expect, test } from 'vitest'
import { main } from '../src/cli/main.ts'
import { parseOptions } from '../src/cli/options.ts'
import { HostError, UsageError } from '../src/cli/errors.ts'
import type { Verb } from '../src/cli/verb.ts'
import { fakeHost } from './host.ts'

const storage: Verb = {
  name: 'run storage',
  summary: 'reads a disk',
  options: { image: { value: 'FILE', help: 'the disk' } },
  run: async (host, argv) => {
    const { image } = parseOptions('run storage', { image: { value: 'FILE', help: '' } }, argv)
    if (image === 'bad') throw new UsageError('--image bad is bad')
    if (image === 'full') throw new HostError('the disk is full')
    if (image === 'bug') throw new TypeError('a bug')
    host.out.write(`ran ${image}`)
    return image === 'failing' ? 1 : 0
  },
}

async function run(...argv: string[]) {
  const { host, written } = fakeHost()
  const status = await main(host, [storage], argv)
  return { status, ...written }
}

describe('the command line', () => {
  test('finds a verb of two words and hands it the rest', async () => {
    expect(await run('run', 'storage', '--image', 'x')).toEqual({ status: 0, out: 'ran x', err: '' })
  })

  test('exit status 1 is the verb’s, a failed run', async () => {
    expect((await run('run', 'storage', '--image', 'failing')).status).toBe(1)
  })

  test.each([
    [[], 'a verb is missing'],
    [['fly'], 'there is no verb “fly”'],
    [['run'], 'run takes storage, not nothing'],
    [['run', 'fast'], 'run takes storage, not “fast”'],
    [['run', '--image', 'x'], 'run takes storage, not nothing'],
    [['--image', 'x'], 'a verb comes before --image'],
    [['run', 'storage', '--image', 'bad'], '--image bad is bad'],
    [['run', 'storage', '--nope'], 'run storage has no option --nope'],
  ])('%j is bad usage: one line on stderr, status 2', async (argv, message) => {
    expect(await run(...argv)).toEqual({ status: 2, out: '', err: `iospace: ${message} (see iospace --help)\n` })
  })

  test('--version prints the version alone', async () => {
    expect(await run('--version')).toEqual({ status: 0, out: '1.2.3\n', err: '' })
  })

  test('--help lists the verbs, VERB --help its options, both on stdout with status 0', async () => {
    const general = await run('--help')
    expect(general).toMatchObject({ status: 0, err: '' })
    expect(general.out).toContain('run storage')
    const verb = await run('run', 'storage', '--help')
    expect(verb).toMatchObject({ status: 0, err: '' })
    expect(verb.out).toContain('--image FILE')
    expect((await run('run', '--help')).status).toBe(0)
  })

  test('what the host does not give is one sentence, status 1', async () => {
    expect(await run('run', 'storage', '--image', 'full')).toEqual({
      status: 1,
      out: '',
      err: 'iospace: the disk is full\n',
    })
  })

  test('a bug shows its stack and status 1', async () => {
    const { status, err } = await run('run', 'storage', '--image', 'bug')
    expect(status).toBe(1)
    expect(err).toContain('TypeError: a bug\n    at ')
  })
})
