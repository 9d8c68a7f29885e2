import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { iommuModels } from '@iospace/iommu/hardware'
import { describe, expect, test } from 'vitest'
import { storage, TestFolder } from './cli.ts'

const IOMMUS = ['vtd', 'amdvi', 'calgary', 'gart', 'none'] as const
const WAYS = IOMMUS.flatMap((iommu) =>
  (['xen', 'swiotlb', 'nommu', 'auto'] as const)
    .filter((dma) => iommu !== 'none' || dma !== 'xen')
    .map((dma) => [dma, iommu] as const),
)

/** What each board promises (issue and facts, not the program's own table): memory, interrupts, a record with the address of each fault. */
const PROMISES = {
  vtd: { memory: true, interrupts: true, records: true },
  amdvi: { memory: true, interrupts: true, records: true },
  calgary: { memory: true, interrupts: false, records: false },
  gart: { memory: false, interrupts: false, records: false },
  none: { memory: false, interrupts: false, records: false },
} as const

/** What fits one request: 11 pages. */
const REQUEST = 45056
const SIZES = [0, 1, 511, 512, 513, REQUEST - 1, REQUEST, REQUEST + 1, 3 * 1024 * 1024 + 17]

describe.each(WAYS)('run storage --dma %s --iommu %s', (dma, iommu) => {
  test.each(SIZES)('an image of %i bytes arrives whole, goes out whole, and the books balance', async (bytes) => {
    using folder = new TestFolder()
    const image = folder.image('disk.img', bytes)
    const { status, report, err } = await storage(
      folder.path,
      '--image',
      'disk.img',
      '--out',
      'copy.img',
      '--dma',
      dma,
      '--iommu',
      iommu,
    )
    expect([report.problems, status, err]).toEqual([[], 0, ''])
    const content = readFileSync(image)
    expect(report.sha256).toBe(createHash('sha256').update(content).digest('hex'))
    expect(readFileSync(folder.at('copy.img')).equals(content)).toBe(true)
    expect(existsSync(folder.at('copy.img.partial'))).toBe(false)
    const requests = 2 * Math.ceil(bytes / REQUEST)
    const spaces = iommu !== 'none' && (dma === 'xen' || dma === 'auto')
    expect(report).toMatchObject({
      ok: true,
      bytes: 2 * bytes,
      // One flush behind the writes; an empty disk needs none.
      requests: requests === 0 ? 0 : requests + 1,
      translatedBytes: iommu === 'none' || (iommu === 'gart' && !spaces) ? 0 : 2 * bytes,
      cpuCopiedBytes: dma === 'swiotlb' ? 2 * bytes : 0,
      references: 0,
    })
    const { made, ended } = report.mappings
    expect(made).toBe(ended)
    // Each page of each request is a mapping of its own; besides, the driver maps its queues.
    if (spaces) expect(made).toBeGreaterThanOrEqual(2 * Math.ceil(bytes / 4096))
    else expect(made).toBe(0)
  })

  test('the attacks go as this machine promises', async () => {
    using folder = new TestFolder()
    folder.image('disk.img', 100)
    const { report } = await storage(folder.path, '--image', 'disk.img', '--dma', dma, '--iommu', iommu)
    const { memory: blocked, interrupts, records } = PROMISES[iommu]
    const attack = (name: string) => ({
      name,
      attempted: true,
      reachedHardware: true,
      control: true,
      restored: true,
      blocked,
      bytesChanged: blocked ? 0 : 64,
      faultSeen: blocked && records,
    })
    expect(report.attacks).toEqual([
      attack('dom0 kernel page'),
      attack('hypervisor scratch page'),
      iommu === 'none'
        ? expect.objectContaining({ name: 'IOMMU root table', attempted: false, skipped: 'there is no IOMMU' })
        : attack('IOMMU root table'),
      attack('ended grant'),
      { ...attack('forged interrupt'), blocked: interrupts, bytesChanged: 0, faultSeen: interrupts },
    ])
    // Four attacks read and write; the interrupt is forged in two ways, of which AMD-Vi takes one for the device's own: its table is per device.
    expect(report.faults).toBe((blocked ? 8 : 0) + (interrupts ? (iommu === 'amdvi' ? 1 : 2) : 0))
  })
})

describe.each(['vtd', 'amdvi', 'calgary', 'gart'])('--iommu %s', (iommu) => {
  test.each(iommuModels[iommu]!.personalities)(
    '--personality %s: a disk arrives whole and goes out whole',
    async (name) => {
      using folder = new TestFolder()
      folder.image('disk.img', 200_000)
      const { report, status } = await storage(
        folder.path,
        '--image',
        'disk.img',
        '--out',
        'copy.img',
        '--iommu',
        iommu,
        '--personality',
        name,
      )
      expect([report.problems, status, report.personality]).toEqual([[], 0, name])
      expect(readFileSync(folder.at('copy.img')).equals(readFileSync(folder.at('disk.img')))).toBe(true)
    },
  )
})

describe('the report of --json', () => {
  test('has the keys that the command promises', async () => {
    using folder = new TestFolder()
    folder.image('disk.img', 5000)
    const { report } = await storage(folder.path, '--image', 'disk.img', '--seed', '7')
    expect(Object.keys(report).sort()).toEqual(
      [
        'ok',
        'problems',
        'dma',
        'iommu',
        'personality',
        'protection',
        'seed',
        'sha256',
        'expectedSha256',
        'bytes',
        'requests',
        'hypercalls',
        'mappings',
        'translatedBytes',
        'cpuCopiedBytes',
        'iotlb',
        'faults',
        'references',
        'attacks',
        'virtualNs',
        'hostMs',
      ].sort(),
    )
    expect(report).toMatchObject({ seed: 7, dma: 'auto', iommu: 'vtd' })
    expect(report.hypercalls['iommu_op.map_grant']).toBeGreaterThan(0)
    expect(report.virtualNs).toBeGreaterThan(0)
    expect(report.iotlb.misses).toBeGreaterThan(0)
  })
})
