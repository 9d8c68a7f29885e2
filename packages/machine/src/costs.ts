/**
 * What is counted on a board and what each event costs the CPU in virtual time.
 *
 * The preset `xeon2006` stands for the 3 GHz two-socket servers of the talk. Its figures are orders of magnitude taken from
 * published measurements of that time, not silicon: time is a model, and every report says so.
 */

/** Index of each counted event in `Clock.counts`. */
export const Count = {
  hypercall: 0,
  eventUpcall: 1,
  mmioRead: 2,
  mmioWrite: 3,
  configAccess: 4,
  tableStore: 5,
  cacheFlush: 6,
  guestCopyByte: 7,
  bounceCopyByte: 8,
  taskSwitch: 9,
  relax: 10,
  /** From here on: events of the hardware, which runs beside the CPU and costs it nothing. */
  dmaRead: 11,
  dmaWrite: 12,
  dmaByte: 13,
  translatedByte: 14,
  iotlbHit: 15,
  iotlbMiss: 16,
  contextHit: 17,
  contextMiss: 18,
  walkRead: 19,
  invalidation: 20,
  dmaFault: 21,
  interruptMessage: 22,
} as const

export type CountName = keyof typeof Count
export const countNames = Object.keys(Count) as readonly CountName[]

/** Nanoseconds of CPU time per event. */
export type CostPreset = { readonly name: string; readonly source: string } & Readonly<Record<CountName, number>>

export const xeon2006: CostPreset = {
  name: 'xeon2006',
  source: 'orders of magnitude of 3 GHz servers of 2006; a model, not a measurement',
  hypercall: 150,
  eventUpcall: 400,
  mmioRead: 500,
  mmioWrite: 60,
  configAccess: 1000,
  tableStore: 2,
  cacheFlush: 40,
  guestCopyByte: 0.4,
  bounceCopyByte: 0.4,
  taskSwitch: 1000,
  relax: 40,
  dmaRead: 0,
  dmaWrite: 0,
  dmaByte: 0,
  translatedByte: 0,
  iotlbHit: 0,
  iotlbMiss: 0,
  contextHit: 0,
  contextMiss: 0,
  walkRead: 0,
  invalidation: 0,
  dmaFault: 0,
  interruptMessage: 0,
}
