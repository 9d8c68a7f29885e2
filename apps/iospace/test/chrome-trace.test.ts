import { describe, expect, test } from 'vitest'
import { ChromeTrace } from '../src/trace/chrome-trace.ts'

interface Event {
  readonly ph: string
  readonly name: string
  readonly pid: number
  readonly tid: number
  readonly ts: number
  readonly dur?: number
  readonly id?: number
  readonly args?: Record<string, unknown>
}

function trace(act: (trace: ChromeTrace) => void) {
  let text = ''
  const sink = new ChromeTrace({ write: (piece) => void (text += piece) }, { seed: 7 })
  act(sink)
  sink.end()
  const file = JSON.parse(text) as { traceEvents: Event[]; otherData: unknown }
  return { events: file.traceEvents, about: file.otherData, counts: sink.counts }
}

const NVME = 0x100

describe('a trace in Chrome’s format', () => {
  test('is JSON with its facts, even when nothing happened', () => {
    expect(trace(() => undefined)).toMatchObject({ events: [], about: { seed: 7 } })
  })

  test('is a process per domain with named tracks', () => {
    const { events } = trace((sink) => {
      sink.domain(0, 0, 'dom0')
      sink.domain(10, 1, 'driver-domain')
      sink.hypercall(1000, 1500, 1, 'iommu_op.map', 0)
    })
    const names = events.filter(({ name }) => name === 'process_name').map(({ pid, args }) => [pid, args!['name']])
    expect(names).toEqual([
      [0, 'dom0 (domain 0)'],
      [1, 'driver-domain (domain 1)'],
    ])
    const tracks = events.filter(({ ph, name, pid }) => ph === 'M' && name === 'thread_name' && pid === 1)
    expect(tracks.map(({ args }) => args!['name'])).toEqual(['hypercalls', 'mappings', 'DMA', 'faults'])
  })

  test('times are microseconds of virtual time, with a duration for a call', () => {
    const { events } = trace((sink) => sink.hypercall(1500.25, 2750, 0, 'memory_op.exchange', -22))
    expect(events.find(({ ph }) => ph === 'X')).toMatchObject({ ts: 1.5, dur: 1.25, args: { result: -22 } })
  })

  test('one arrow leads from a map through each DMA to the unmap', () => {
    const { events } = trace((sink) => {
      sink.device(0, NVME, 1, 2)
      sink.map(10, 1, 2, 0x5000, 2)
      sink.map(11, 1, 2, 0x9000, 1)
      sink.dma(20, NVME, true, 0x6100, 64, 2)
      sink.dma(21, NVME, false, 0x9000, 64, 2)
      sink.unmap(30, 1, 2, 0x5000, 2)
      sink.dma(40, NVME, true, 0x5000, 64, -1)
      sink.unmap(50, 1, 2, 0x9000, 1)
    })
    const flow = (id: number) => events.filter((event) => event.id === id).map(({ ph, ts }) => [ph, ts])
    expect(flow(1)).toEqual([
      ['s', 0.01],
      ['t', 0.02],
      ['f', 0.03],
    ])
    expect(flow(2)).toEqual([
      ['s', 0.011],
      ['t', 0.021],
      ['f', 0.05],
    ])
    // The DMA after the unmap hangs on no arrow.
    expect(events.filter(({ id }) => id !== undefined)).toHaveLength(6)
  })

  test('an arrow ends with the last page of its mapping, and an address may be mapped again', () => {
    const { events } = trace((sink) => {
      sink.map(1, 1, 0, 0x1000, 2)
      sink.unmap(2, 1, 0, 0x1000, 1)
      sink.map(3, 1, 0, 0x1000, 1)
      sink.unmap(4, 1, 0, 0x2000, 1)
      sink.unmap(5, 1, 0, 0x1000, 1)
    })
    const ends = events.filter(({ ph }) => ph === 'f').map(({ id, ts }) => [id, ts])
    expect(ends).toEqual([
      [1, 0.004],
      [2, 0.005],
    ])
  })

  test('what a device without an owner does is quarantine’s', () => {
    const { events } = trace((sink) => sink.fault(1, 0x0300, true, 0xfee0_0000, 5))
    expect(events.find(({ name }) => name === 'process_name')?.args).toEqual({ name: 'quarantine' })
    expect(events.find(({ name }) => name === 'fault')).toMatchObject({
      ph: 'i',
      args: { device: '03:00.0', write: true, address: '0xfee00000', reason: 5 },
    })
  })

  test('counts what it wrote', () => {
    const { counts } = trace((sink) => {
      sink.hypercall(0, 1, 0, 'a.b', 0)
      sink.map(1, 1, 0, 0, 3)
      sink.unmap(2, 1, 0, 0, 3)
      sink.dma(3, NVME, true, 0, 8, 1)
      sink.fault(4, NVME, true, 0, 1)
    })
    expect(counts).toEqual({ hypercalls: 1, maps: 1, unmaps: 1, mappedPages: 3, unmappedPages: 3, dmas: 1, faults: 1 })
  })
})
