import { runStorage, type StorageRun } from 'iospace'
import { MemoryBlockStore, StoreStatus, type BlockStore } from '@iospace/devices'
import { Blkback, nvmeDriver, type Kernel } from '@iospace/linux'
import { chmodSync, existsSync, truncateSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { cli, storage, TestFolder } from './cli.ts'

const usage = async (...argv: string[]) => {
  using folder = new TestFolder()
  folder.file('file', 'x')
  folder.file('copy.partial', 'x')
  const { status, out, err } = await cli(folder.path, 'run', 'storage', ...argv)
  expect([status, out]).toEqual([2, ''])
  expect(err).toMatch(/^iospace: [^\n]+ \(see iospace --help\)\n$/)
  return err.replaceAll(folder.path, '').replace(/^iospace: | \(see iospace --help\)\n$/g, '')
}

describe('bad usage: one sentence on stderr, status 2, nothing on stdout', () => {
  test.each([
    [['--frob'], 'run storage has no option --frob'],
    [['--dma', 'gart'], '--dma is one of auto, xen, swiotlb, nommu, not “gart”'],
    [['--iommu', 'dart'], '--iommu is one of vtd, amdvi, calgary, gart, none, not “dart”'],
    [['--dma', 'xen', '--iommu', 'none'], '--dma xen needs an IOMMU: it cannot go with --iommu none'],
    [['--iommu', 'none', '--personality', 'k8'], '--personality needs an IOMMU: it cannot go with --iommu none'],
    [['--iommu', 'gart', '--personality', 'hats6'], '--personality is one of k8, k8-e156, family10h, not “hats6”'],
    [['--seed', 'x'], '--seed is a whole number from 0 to 4294967295, not “x”'],
    [['--image', 'missing'], '--image /missing cannot be read: it does not exist'],
    [['--image', '.'], '--image  is a folder, not a file'],
    [['--image', 'file', '--out', 'file'], '--out /file would overwrite /file, which is read'],
    [['--image', 'copy.partial', '--out', 'copy'], '--out /copy would overwrite /copy.partial, which is read'],
    [['--image', 'file', '--out', '.'], '--out  is a folder, not a file'],
    [['--image', 'file', '--out', 'no/copy'], '--out /no/copy cannot be written: it does not exist'],
    [['--image', 'file', '--trace', 'file'], '--trace /file would overwrite /file'],
    [['--image', 'file', '--trace', 'no/trace'], '--trace /no/trace cannot be written: it does not exist'],
  ])('%j', async (argv, sentence) => {
    expect(await usage(...argv)).toBe(sentence)
  })

  test.skipIf(process.getuid?.() === 0)('an image that may not be read', async () => {
    using folder = new TestFolder()
    chmodSync(folder.file('secret', 'x'), 0)
    const { status, err } = await cli(folder.path, 'run', 'storage', '--image', 'secret')
    expect([status, err]).toEqual([2, expect.stringContaining('permission denied')])
  })
})

/** A run on a disk of ours, with other programs, and what must hold after every accident. */
async function accident(run: Partial<StorageRun>) {
  const image = run.image ?? new MemoryBlockStore(new Uint8Array(500_000).fill(7))
  const system = {
    dma: 'xen',
    iommu: 'vtd',
    seed: 1,
    bytes: image.bytes,
    writes: (run.out ?? null) !== null,
    hangLimit: 50e6,
    ...run.system,
  } as const
  const result = await runStorage({ image, out: null, ...run, system })
  const books = result.system.books()
  const { made, ended } = result.system.books().mappings
  expect(result.outcome.finished).toBe(true)
  expect([books.references, made - ended, books.domains.length]).toEqual([0, 0, 1])
  return {
    ...result,
    crashes: result.outcome.crashes.map(({ domain, error }) => `${domain}: ${(error as Error).message}`),
  }
}

const guest = (program: (kernel: Kernel) => Promise<void>) => ({ programs: { guest: program } })

describe('a guest program that goes wrong ends alone: the others go on, and nothing of it is left', () => {
  test('it throws', async () => {
    const { crashes, driverDomain } = await accident(
      guest(async () => {
        throw new Error('out of coffee')
      }),
    )
    expect(crashes).toEqual(['guest: out of coffee'])
    expect(driverDomain?.backend).toBe('xen')
  })

  test('it throws in the middle of its requests', async () => {
    let reads = 0
    const { crashes, driverDomain } = await accident({
      image: new MemoryBlockStore(new Uint8Array(4_000_000)),
      onProgress: () => {
        if (++reads === 3) throw new Error('enough')
      },
    })
    expect(crashes).toEqual(['guest: enough'])
    expect(driverDomain?.backend).toBe('xen')
  })

  test('it waits for ever', async () => {
    const { crashes } = await accident(guest((kernel) => kernel.queue('Godot').wait()))
    expect(crashes).toEqual(['guest: waits for ever for Godot'])
  })

  test('it loops with hypercalls, for ever', async () => {
    const { crashes } = await accident(
      guest(async (kernel) => {
        for (;;) kernel.events.send(1)
      }),
    )
    expect(crashes).toEqual(['guest: task guest/init ran for more than 50 ms of virtual time without waiting'])
  })

  test('it awaits something that is not of its machine', async () => {
    const { crashes } = await accident(guest(() => new Promise(() => undefined)))
    expect(crashes).toEqual(['guest: task guest/init: awaits something that is not of this machine'])
  })

  test('it ends without a word', async () => {
    const { crashes, guest: result } = await accident(guest(async () => undefined))
    expect([crashes, result]).toEqual([[], null])
  })
})

describe('a driver domain that goes wrong', () => {
  const failing = (after: number) => async (kernel: Kernel) => {
    await kernel.pci.register(nvmeDriver)
    await kernel.xenbus.register(new Blkback())
    await kernel.sleep(after)
    throw new Error('a bug in a driver')
  }

  test.each([1e6, 2e6, 4e6, 8e6])(
    'after %i ns: its clients get I/O errors or nothing, and end; its devices are quiet',
    async (after) => {
      const image = new MemoryBlockStore(new Uint8Array(20_000_000))
      const { crashes, guest: result } = await accident({ image, programs: { 'driver-domain': failing(after) } })
      expect(crashes).toContain('driver-domain: a bug in a driver')
      if (result === null) expect(crashes).toContain('guest: waits for ever for block device xvda')
      else expect(result.problem).toMatch(/^the disk could not read/)
    },
  )
})

/** A disk that breaks after some reads or writes. */
class BreakingStore implements BlockStore {
  readonly bytes = 1_000_000
  readonly readOnly = false
  #left: number
  readonly #status: number
  constructor(good: number, status: number) {
    this.#left = good
    this.#status = status
  }
  read(): number {
    return this.#left-- > 0 ? StoreStatus.ok : this.#status
  }
  write(): number {
    return this.read()
  }
  flush(): number {
    return StoreStatus.ok
  }
}

describe('a disk that goes wrong is an I/O error in the guest, and nothing else', () => {
  test.each(['xen', 'swiotlb', 'nommu'] as const)('--dma %s: a read fails', async (dma) => {
    const image = new BreakingStore(10, StoreStatus.io)
    const { crashes, guest: result } = await accident({
      image,
      system: { dma, iommu: 'vtd', seed: 1, bytes: image.bytes, writes: false },
    })
    expect(crashes).toEqual([])
    expect(result?.problem).toMatch(/^the disk could not read \d+ bytes at \d+ \(error -5\)$/)
    expect(result?.sha256).toBeNull()
  })

  test('a write fails', async () => {
    const image = new MemoryBlockStore(new Uint8Array(1_000_000))
    const { crashes, guest: result } = await accident({ image, out: new BreakingStore(10, StoreStatus.full) })
    expect(crashes).toEqual([])
    expect(result?.problem).toMatch(/^the disk could not write \d+ bytes at \d+ \(error -5\)$/)
  })
})

describe('files that go wrong: a sentence each, status 1', () => {
  test('an image that shrinks while it is read', async () => {
    using folder = new TestFolder()
    const image = folder.image('disk.img', 4_000_000)
    // The hash of the file is computed beside the run; the run itself opens the file at once.
    const running = storage(folder.path, '--image', 'disk.img')
    truncateSync(image, 1000)
    const { status, report } = await running
    expect(status).toBe(1)
    expect(report.problems[0]).toMatch(/^\S+disk\.img became shorter while it was read: \d+ of 4000000 bytes are left$/)
    expect([report.ok, report.sha256, report.references]).toEqual([false, null, 0])
  })

  test('a bit that flips on the way is found', async () => {
    const content = new Uint8Array(300_000)
    const flipped = new MemoryBlockStore(content.slice())
    flipped.contents[123_456]! ^= 1
    const { guest: good } = await accident({ image: new MemoryBlockStore(content) })
    const { guest: bad } = await accident({ image: flipped })
    expect(bad?.sha256).not.toBe(good?.sha256)
  })

  test('a failed run leaves --out partial and an older file as it was', async () => {
    using folder = new TestFolder()
    const image = folder.image('disk.img', 4_000_000)
    folder.file('copy.img', 'older')
    const running = storage(folder.path, '--image', 'disk.img', '--out', 'copy.img')
    truncateSync(image, 1000)
    const { status, report } = await running
    expect(status).toBe(1)
    expect(report.problems.at(-1)).toBe(`${folder.at('copy.img.partial')} is not whole`)
    expect([existsSync(folder.at('copy.img.partial')), existsSync(folder.at('copy.img'))]).toEqual([true, true])
  })
})
