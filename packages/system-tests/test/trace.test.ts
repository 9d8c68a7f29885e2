import { ChromeTrace, runStorage, type StorageSystem } from 'iospace'
import { MemoryBlockStore } from '@iospace/devices'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { storage, TestFolder } from './cli.ts'

interface Event {
  readonly ph: string
  readonly name: string
  readonly pid: number
  readonly tid: number
  readonly ts: number
  readonly id?: number
  readonly args?: Readonly<Record<string, unknown>>
}

const eventsOf = (text: string): Event[] => (JSON.parse(text) as { traceEvents: Event[] }).traceEvents

describe('--trace', () => {
  test('writes as many events as the report counts', async () => {
    using folder = new TestFolder()
    folder.image('disk.img', 300_000)
    const { report, status } = await storage(folder.path, '--image', 'disk.img', '--trace', 'trace.json')
    expect(status).toBe(0)
    const events = eventsOf(readFileSync(folder.at('trace.json'), 'utf8'))
    const named = (name: string): number => events.filter((event) => event.ph !== 'M' && event.name === name).length
    const calls = Object.keys(report.hypercalls).map((name) => [name, named(name)])
    expect(Object.fromEntries(calls)).toEqual(report.hypercalls)
    expect([named('map'), named('unmap')]).toEqual([report.mappings.made, report.mappings.ended])
    expect(named('fault')).toBe(report.faults)
  })

  test('has a process per domain, and an arrow from each map through its DMA to its unmap', async () => {
    using folder = new TestFolder()
    folder.image('disk.img', 100_000)
    await storage(folder.path, '--image', 'disk.img', '--trace', 'trace.json', '--dma', 'xen')
    const events = eventsOf(readFileSync(folder.at('trace.json'), 'utf8'))
    const processes = events.filter(({ name }) => name === 'process_name').map(({ args }) => args!['name'])
    expect(processes).toEqual(
      expect.arrayContaining(['dom0 (domain 0)', 'driver-domain (domain 1)', 'guest (domain 2)']),
    )
    const flows = Map.groupBy(
      events.filter(({ id }) => id !== undefined),
      ({ id }) => id!,
    )
    expect(flows.size).toBeGreaterThan(25)
    let travelled = 0
    for (const steps of flows.values()) {
      const phases = steps.map(({ ph }) => ph).join('')
      expect(phases).toMatch(/^st*f$/)
      expect(steps.map(({ ts }) => ts)).toEqual(steps.map(({ ts }) => ts).sort((a, b) => a - b))
      if (phases.length > 2) travelled++
    }
    // Each of the 25 pages of the disk was reached by a DMA.
    expect(travelled).toBeGreaterThanOrEqual(25)
  })

  test.each(['xen', 'nommu'] as const)('--dma %s: counts every DMA of the machine', async (dma) => {
    const system: StorageSystem = { dma, iommu: 'vtd', seed: 3, bytes: 200_000, writes: false }
    const trace = new ChromeTrace({ write: () => undefined }, {})
    const result = await runStorage({ system, image: new MemoryBlockStore(new Uint8Array(200_000)), out: null, trace })
    const books = result.system.books()
    expect(trace.counts.dmas).toBe(books.dma.transfers)
    expect(trace.counts.faults).toBe(books.faults)
    expect([trace.counts.mappedPages, trace.counts.unmappedPages]).toEqual([
      books.mappings.pagesMade,
      books.mappings.pagesEnded,
    ])
    expect(trace.counts.hypercalls).toBe(Object.values(books.hypercalls).reduce((sum, times) => sum + times, 0))
  })
})
