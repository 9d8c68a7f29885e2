/**
 * A run as Chrome trace events (JSON array format with a `traceEvents` key), which Perfetto and chrome://tracing open: one process per
 * domain; tracks for hypercalls, mappings, DMA and faults; flow arrows from the map of a page to each DMA through it to its unmap.
 *
 * Events are written as they happen, in virtual time. What happens in no time is drawn 1 ns long, because an arrow binds to a slice.
 */
import type { TraceSink } from '@iospace/machine'
import { FlowTable } from './flows.ts'

/** Where the text goes. */
export interface TextSink {
  write(text: string): void
}

/** Track numbers inside a domain's process. */
const Track = { hypercalls: 1, mappings: 2, dma: 3, faults: 4 } as const
const INSTANT = 0.001
/** Whom a device belongs to that nobody named: DOMID_IO, where quarantined devices are. */
const NOBODY = 0x7ff1

/** How many events of each kind were written: equal to the machine's counters. */
export interface TraceCounts {
  hypercalls: number
  maps: number
  unmaps: number
  mappedPages: number
  unmappedPages: number
  dmas: number
  faults: number
}

export class ChromeTrace implements TraceSink {
  readonly counts: TraceCounts = {
    hypercalls: 0,
    maps: 0,
    unmaps: 0,
    mappedPages: 0,
    unmappedPages: 0,
    dmas: 0,
    faults: 0,
  }
  readonly #sink: TextSink
  readonly #named = new Set<number>()
  readonly #owner = new Map<number, { readonly domid: number; readonly space: number }>()
  readonly #flows = new FlowTable()
  #separator = '\n'

  /** Writes the head of the file. `about` is shown by viewers as the trace's metadata. */
  constructor(sink: TextSink, about: Readonly<Record<string, unknown>>) {
    this.#sink = sink
    sink.write(`{"displayTimeUnit":"ns","otherData":${JSON.stringify(about)},"traceEvents":[`)
  }

  /** Writes the end of the file; without it viewers still read what there is. */
  end(): void {
    this.#sink.write('\n]}\n')
  }

  domain(time: number, domid: number, name: string | null): void {
    if (name !== null) {
      this.#named.delete(domid)
      this.#process(domid, `${name} (domain ${domid})`)
    } else this.#event(`"ph":"i","s":"p","name":"the domain ends"`, time, domid, Track.hypercalls)
  }

  device(time: number, sbdf: number, domid: number, space: number): void {
    this.#owner.set(sbdf, { domid, space })
    this.#process(domid, `domain ${domid}`)
    this.#event(`"ph":"i","s":"p","name":"device ${device(sbdf)}","args":{"space":${space}}`, time, domid, Track.dma)
  }

  hypercall(start: number, end: number, domid: number, name: string, result: number): void {
    this.counts.hypercalls++
    this.#process(domid, `domain ${domid}`)
    const duration = Math.max(end - start, 1) / 1000
    this.#event(
      `"ph":"X","name":"${name}","dur":${us(duration)},"args":{"result":${result}}`,
      start,
      domid,
      Track.hypercalls,
    )
  }

  map(time: number, domid: number, space: number, ioAddress: number, pages: number): void {
    this.counts.maps++
    this.counts.mappedPages += pages
    this.#slice('map', time, domid, Track.mappings, `"space":${space},"address":"${hex(ioAddress)}","pages":${pages}`)
    this.#flow('s', this.#flows.map(domid, space, ioAddress, pages), time, domid, Track.mappings)
  }

  unmap(time: number, domid: number, space: number, ioAddress: number, pages: number): void {
    this.counts.unmaps++
    this.counts.unmappedPages += pages
    this.#slice('unmap', time, domid, Track.mappings, `"space":${space},"address":"${hex(ioAddress)}","pages":${pages}`)
    for (const flow of this.#flows.unmap(domid, space, ioAddress, pages))
      this.#flow('f', flow, time, domid, Track.mappings)
  }

  dma(time: number, sbdf: number, write: boolean, ioAddress: number, bytes: number, outcome: number): void {
    this.counts.dmas++
    const { domid, space } = this.#owner.get(sbdf) ?? { domid: NOBODY, space: -1 }
    this.#process(domid, `domain ${domid}`)
    const facts = `"device":"${device(sbdf)}","address":"${hex(ioAddress)}","bytes":${bytes},"outcome":"${outcomes[outcome] ?? outcome}"`
    this.#slice(write ? 'DMA write' : 'DMA read', time, domid, Track.dma, facts)
    for (const flow of this.#flows.within(domid, space, ioAddress, bytes)) this.#flow('t', flow, time, domid, Track.dma)
  }

  fault(time: number, sbdf: number, write: boolean, ioAddress: number, reason: number): void {
    this.counts.faults++
    const { domid } = this.#owner.get(sbdf) ?? { domid: NOBODY }
    this.#process(domid, `domain ${domid}`)
    const facts = `"device":"${device(sbdf)}","write":${write},"address":"${hex(ioAddress)}","reason":${reason}`
    this.#event(`"ph":"i","s":"t","name":"fault","args":{${facts}}`, time, domid, Track.faults)
  }

  #process(domid: number, name: string): void {
    if (this.#named.has(domid)) return
    this.#named.add(domid)
    this.#metadata(domid, 0, 'process_name', domid === NOBODY ? 'quarantine' : name)
    this.#metadata(domid, Track.hypercalls, 'thread_name', 'hypercalls')
    this.#metadata(domid, Track.mappings, 'thread_name', 'mappings')
    this.#metadata(domid, Track.dma, 'thread_name', 'DMA')
    this.#metadata(domid, Track.faults, 'thread_name', 'faults')
  }

  #metadata(domid: number, track: number, kind: string, name: string): void {
    this.#event(`"ph":"M","name":"${kind}","args":{"name":${JSON.stringify(name)}}`, 0, domid, track)
  }

  #slice(name: string, time: number, domid: number, track: number, facts: string): void {
    this.#process(domid, `domain ${domid}`)
    this.#event(`"ph":"X","name":"${name}","dur":${INSTANT},"args":{${facts}}`, time, domid, track)
  }

  #flow(phase: 's' | 't' | 'f', id: number, time: number, domid: number, track: number): void {
    const binding = phase === 'f' ? ',"bp":"e"' : ''
    this.#event(`"ph":"${phase}","name":"mapping","cat":"mapping","id":${id}${binding}`, time, domid, track)
  }

  #event(body: string, time: number, domid: number, track: number): void {
    this.#sink.write(`${this.#separator}{${body},"pid":${domid},"tid":${track},"ts":${us(time / 1000)}}`)
    this.#separator = ',\n'
  }
}

const outcomes: Readonly<Record<number, string>> = {
  2: 'translated',
  1: 'untranslated',
  [-1]: 'blocked',
  [-2]: 'nothing there',
  [-3]: 'may not master the bus',
}

/** Microseconds with the nanosecond as the last digit, without the noise of binary fractions. */
const us = (value: number): string => String(Math.round(value * 1000) / 1000)
const hex = (value: number): string => `0x${value.toString(16)}`
const device = (sbdf: number): string => `${hex2((sbdf >> 8) & 0xff)}:${hex2((sbdf >> 3) & 0x1f)}.${sbdf & 7}`
const hex2 = (value: number): string => value.toString(16).padStart(2, '0')
