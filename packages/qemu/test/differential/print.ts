/** Operations and differences in words, for people. */
import { hex } from '@iospace/wire'
import type { Difference } from './difference.ts'
import type { Operation, Words } from './operation.ts'
import type { FaultView, Observation } from './side.ts'
import type { Report } from './report.ts'

const address = (hi: number, lo: number): string => hex((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0))
const words = (list: Words): string => list.map((word) => hex(word >>> 0)).join(' ')

export function describeOperation(operation: Operation): string {
  switch (operation.kind) {
    case 'entry':
      return `table ${hex(operation.frame)} entry ${operation.index} = ${address(operation.hi, operation.lo)}`
    case 'root':
      return `root entry of bus ${operation.bus} = ${words(operation.words)}`
    case 'context':
      return `context of ${hex(operation.requester)} = ${words(operation.words)}`
    case 'rootTable':
      return `root table at frame ${hex(operation.frame)}`
    case 'contexts': {
      const { granularity, domain, requester, functionMask } = operation
      return `invalidate contexts: granularity ${granularity}, domain ${domain}, requester ${hex(requester)}, mask ${functionMask}`
    }
    case 'translations': {
      const { granularity, domain, hi, lo, order, leafOnly } = operation
      const what = `granularity ${granularity}, domain ${domain}, ${address(hi, lo)} order ${order}`
      return `invalidate translations: ${what}${leafOnly ? ', leaves only' : ''}`
    }
    case 'descriptor':
      return `descriptor ${words(operation.words)}`
    case 'dma': {
      const { requester, write, hi, lo, length, keep } = operation
      return `${hex(requester)} ${write ? 'stores' : 'fetches'} ${length} bytes at ${address(hi, lo)}${keep ? ', record kept' : ''}`
    }
  }
}

const fault = (view: FaultView | null): string =>
  view === null ? '' : `status ${hex(view.status)} record ${view.record === null ? 'none' : words(view.record)}`

const observation = ({ result, fault: first, seen, readback }: Observation): string =>
  [
    `result ${hex(result)}`,
    fault(first),
    seen === null ? '' : `seen ${seen.slice(0, 32)}`,
    readback === null ? '' : `then ${fault(readback)}`,
  ]
    .filter((text) => text !== '')
    .join(', ')

export function describeDifference({ operation, parts, ours, qemu, touched, context }: Difference): string {
  const pages = touched.map(({ cached, walk }) => {
    const page =
      cached === undefined
        ? 'not cached'
        : `cached order ${cached.order} frame ${hex(cached.frame)} rights ${cached.rights}`
    return `  page: ${page}; walk ${walk.outcome < 0 ? `reason ${hex(-walk.outcome)}` : `frame ${hex(walk.outcome)}`}`
  })
  const known = context === undefined ? 'none' : `domain ${context.domain}, ${context.levels} levels`
  return [
    `${describeOperation(operation)}: ${parts.join(', ')} differ`,
    `  ours: ${observation(ours)}`,
    `  QEMU: ${observation(qemu)}`,
    ...pages,
    `  context cached: ${known}`,
  ].join('\n')
}

export function describeReport({ coverage, explained, failure, problems }: Report): string {
  const { operations, transfers, succeeded, staleHits, partialInvalidations, reasons, levels, pageSizes } = coverage
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([name, count]) => `${name}: ${count}`)
      .join(', ')
  const lines = [
    `${operations} operations, ${transfers} transfers, ${succeeded} succeeded, ${staleHits} stale hits, ${partialInvalidations} partial invalidations`,
    `reasons ${list(reasons)}; levels ${list(levels)}; pages ${list(pageSizes)}`,
    `known deviations ${list(Object.fromEntries(explained))}`,
    ...problems,
  ]
  if (failure?.failure.difference) lines.push(describeDifference(failure.failure.difference))
  return lines.join('\n')
}
