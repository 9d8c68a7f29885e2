import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { storage, TestFolder } from './cli.ts'

describe('a run is a function of its seed and its input (architecture.md, Time and order)', () => {
  test.each(['xen', 'swiotlb', 'nommu'])(
    '--dma %s: the same seed gives the same report and trace, but for host time',
    async (dma) => {
      using folder = new TestFolder()
      folder.image('disk.img', 200_000)
      const run = async (trace: string) => {
        const { report } = await storage(
          folder.path,
          '--image',
          'disk.img',
          '--dma',
          dma,
          '--seed',
          '11',
          '--trace',
          trace,
        )
        return { report: { ...report, hostMs: 0 }, trace: readFileSync(folder.at(trace), 'utf8') }
      }
      const first = await run('a.json')
      const second = await run('b.json')
      expect(second.report).toEqual(first.report)
      expect(second.trace === first.trace).toBe(true)
    },
  )

  test('two seeds take two ways to one result', async () => {
    using folder = new TestFolder()
    folder.image('disk.img', 200_000)
    const [a, b] = [
      await storage(folder.path, '--image', 'disk.img', '--seed', '1'),
      await storage(folder.path, '--image', 'disk.img', '--seed', '2'),
    ]
    expect(a.report.sha256).toBe(b.report.sha256)
    expect([a.status, b.status]).toEqual([0, 0])
    expect(a.report.virtualNs).not.toBe(b.report.virtualNs)
  })

  test('without an image the disk itself comes from the seed', async () => {
    using folder = new TestFolder()
    const [a, b, c] = [
      await storage(folder.path, '--seed', '5'),
      await storage(folder.path, '--seed', '5'),
      await storage(folder.path, '--seed', '6'),
    ]
    expect(a.report.bytes).toBe(32 << 20)
    expect(b.report.sha256).toBe(a.report.sha256)
    expect(c.report.sha256).not.toBe(a.report.sha256)
  })
})
