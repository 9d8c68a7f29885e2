import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { StoreStatus } from '@iospace/devices'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { HostError, UsageError } from '../src/cli/errors.ts'
import { hashFile } from '../src/files/hash-file.ts'
import { ImageFile } from '../src/files/image-file.ts'
import { OutputFile } from '../src/files/output-file.ts'
import { sameFile } from '../src/files/same-file.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iospace-test-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const file = (name: string, content: Uint8Array | string = ''): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

describe('a disk image', () => {
  test('is read into the middle of a target, and is not writable', () => {
    using image = ImageFile.open('--image', file('a', 'abcdef'))
    const target = new Uint8Array(6).fill(0xff)
    expect(image.read(1, target, 2, 3)).toBe(StoreStatus.ok)
    expect([...target]).toEqual([255, 255, 98, 99, 100, 255])
    expect([image.bytes, image.readOnly, image.write()]).toEqual([6, true, StoreStatus.readOnly])
  })

  test('that becomes shorter while it is read fails with its name and lengths', () => {
    const path = file('a', 'x'.repeat(1000))
    using image = ImageFile.open('--image', path)
    truncateSync(path, 100)
    expect(image.read(0, new Uint8Array(512), 0, 512)).toBe(StoreStatus.short)
    expect(image.problem).toBe(`${path} became shorter while it was read: 100 of 1000 bytes are left`)
  })

  test.each([
    ['missing', (): string => join(folder, 'missing'), /cannot be read: it does not exist$/],
    ['a folder', (): string => folder, /is a folder, not a file$/],
    ['a device', (): string => '/dev/zero', /is not a plain file$/],
    ['below a file', (): string => join(file('a'), 'b'), /cannot be read: a part of the path is not a folder$/],
  ])('%s is bad usage', (_, path, message) => {
    expect(() => ImageFile.open('--image', path())).toThrow(UsageError)
    expect(() => ImageFile.open('--image', path())).toThrow(message)
  })

  test('a pipe is bad usage and does not wait for its other end', () => {
    const path = join(folder, 'pipe')
    execFileSync('bash', ['-c', 'mkfifo "$0"', path])
    expect(() => ImageFile.open('--image', path)).toThrow(/is not a plain file$/)
  })

  test('a file that has bytes and says that it has none is bad usage; an empty one is an image', () => {
    expect(() => ImageFile.open('--image', '/proc/version')).toThrow(/does not tell its length$/)
    using image = ImageFile.open('--image', file('empty'))
    expect(image.bytes).toBe(0)
  })

  test('that cannot be made is a sentence', () => {
    vi.stubEnv('TMPDIR', join(folder, 'none'))
    expect(() => ImageFile.fromSeed(1, 10)).toThrow(HostError)
    expect(() => ImageFile.fromSeed(1, 10)).toThrow(/^no disk image can be made in .*none: it does not exist$/)
    vi.unstubAllEnvs()
  })

  test('made from a seed is the same for the same seed, and goes away', () => {
    const digest = (seed: number): string => {
      using image = ImageFile.fromSeed(seed, 100_000)
      expect(image.bytes).toBe(100_000)
      expect(existsSync(image.path)).toBe(true)
      return createHash('sha256').update(readFileSync(image.path)).digest('hex')
    }
    expect(digest(1)).toBe(digest(1))
    expect(digest(1)).not.toBe(digest(2))
    const image = ImageFile.fromSeed(1, 10)
    image[Symbol.dispose]()
    expect(existsSync(dirname(image.path))).toBe(false)
  })
})

describe('an output file', () => {
  test('has its name only when it is whole', () => {
    const path = join(folder, 'out')
    using out = OutputFile.create('--out', path, 5, [])
    expect(out.write(3, new Uint8Array([9, 4, 5, 9]), 1, 2)).toBe(StoreStatus.ok)
    expect(out.write(0, new Uint8Array([1, 2, 3]), 0, 3)).toBe(StoreStatus.ok)
    expect(out.flush()).toBe(StoreStatus.ok)
    expect(existsSync(path)).toBe(false)
    expect(out.finish()).toBe(true)
    expect([...readFileSync(path)]).toEqual([1, 2, 3, 4, 5])
    expect(existsSync(`${path}.partial`)).toBe(false)
  })

  test('that has not all of its bytes does not get its name', () => {
    const path = join(folder, 'out')
    using out = OutputFile.create('--out', path, 5, [])
    out.write(0, new Uint8Array(4), 0, 4)
    expect(out.finish()).toBe(false)
    expect(out.problem).toBe(`${path}.partial has 4 of 5 bytes`)
    expect([existsSync(path), existsSync(`${path}.partial`)]).toEqual([false, true])
  })

  test('replaces an older file, and an older partial one, only at the end', () => {
    const path = file('out', 'old')
    file('out.partial', 'left over')
    {
      using out = OutputFile.create('--out', path, 3, [])
      out.write(0, new Uint8Array([7, 7, 7]), 0, 3)
      expect(readFileSync(path, 'utf8')).toBe('old')
    }
    expect(readFileSync(path, 'utf8')).toBe('old')
    expect([...readFileSync(`${path}.partial`)]).toEqual([7, 7, 7])
  })

  test('reads back what was written, and zeros where nothing was', () => {
    using out = OutputFile.create('--out', join(folder, 'out'), 10, [])
    out.write(4, new Uint8Array([1, 2]), 0, 2)
    const target = new Uint8Array(8).fill(9)
    expect(out.read(2, target, 0, 8)).toBe(StoreStatus.ok)
    expect([...target]).toEqual([0, 0, 1, 2, 0, 0, 0, 0])
  })

  test('is not written through a link at its partial name', () => {
    const victim = file('victim', 'precious')
    symlinkSync(victim, join(folder, 'out.partial'))
    using out = OutputFile.create('--out', join(folder, 'out'), 3, [])
    out.write(0, new Uint8Array(3), 0, 3)
    expect(readFileSync(victim, 'utf8')).toBe('precious')
  })

  test('a full disk is a sentence, and the file stays partial', () => {
    const path = join(folder, 'out')
    // A file of at most 4 KiB for a child, which gets EFBIG where a full disk gives ENOSPC.
    const script = `
      import { OutputFile } from ${JSON.stringify(new URL('../src/files/output-file.ts', import.meta.url).href)}
      const out = OutputFile.create('--out', ${JSON.stringify(path)}, 65536, [])
      console.log(out.write(0, new Uint8Array(65536), 0, 65536), out.finish(), out.problem)`
    const run = `ulimit -f 4 && exec "$0" --conditions=@iospace/source --input-type=module -e "$1"`
    const answer = execFileSync('bash', ['-c', run, process.execPath, script], { encoding: 'utf8' })
    expect(answer.trim()).toBe(
      `${StoreStatus.full} false ${path}.partial cannot be written: the file would be too large`,
    )
    expect(existsSync(path)).toBe(false)
    expect(existsSync(`${path}.partial`)).toBe(true)
  })

  test.each([
    ['a folder', (): string => folder, /is a folder, not a file$/],
    ['a device', (): string => '/dev/full', /is not a plain file$/],
    ['in no folder', (): string => join(folder, 'no', 'out'), /cannot be written: it does not exist$/],
    ['the image itself', (): string => join(folder, 'image'), /would overwrite .*image, which is read$/],
    ['whose partial is the image', (): string => join(folder, 'x'), /would overwrite .*x\.partial, which is read$/],
  ])('%s is bad usage', (_, path, message) => {
    const inputs = [file('image', 'i'), file('x.partial', 'i')]
    expect(() => OutputFile.create('--out', path(), 1, inputs)).toThrow(message)
    expect(() => OutputFile.create('--out', path(), 1, inputs)).toThrow(UsageError)
    expect(readFileSync(inputs[0]!, 'utf8')).toBe('i')
  })
})

describe('two paths lead to one file', () => {
  test('that is there, or will be, by whatever folder', () => {
    const one = file('one')
    linkSync(one, join(folder, 'two'))
    symlinkSync(folder, join(folder, 'here'))
    const lead = (a: string, b: string): boolean => sameFile(join(folder, a), join(folder, b))
    expect([lead('one', 'two'), lead('one', 'here/one'), lead('new', 'new'), lead('new', 'here/new')]).toEqual([
      true,
      true,
      true,
      true,
    ])
    expect([lead('one', 'new'), lead('new', 'newer'), lead('none/x', 'none/y')]).toEqual([false, false, false])
  })
})

describe('the hash of a file', () => {
  test('is of its first bytes, and equals another implementation’s', async () => {
    const content = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 7919) >> 3)
    const path = file('a', content)
    const digest = createHash('sha256').update(content.subarray(0, 2_500_001)).digest('hex')
    expect(await hashFile(path, 2_500_001).result).toEqual({ digest })
  })

  test('a file that is shorter, or missing, is a problem and not an exception', async () => {
    const path = file('a', 'abc')
    expect(await hashFile(path, 10).result).toEqual({
      problem: `${path} became shorter while it was read: 3 of 10 bytes are left`,
    })
    expect(await hashFile(join(folder, 'none'), 1).result).toEqual({
      problem: `${join(folder, 'none')} cannot be read: it does not exist`,
    })
  })
})
