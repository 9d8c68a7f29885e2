/** Operations and differences in words, for people. */
import { hex } from '@iospace/wire'
import type { Difference } from './difference.ts'
import { describeDma, hex64, hexWords } from '../dma.ts'
import type { Operation } from './operation.ts'
import type { FaultView, Observation } from './side.ts'

export function describeOperation(operation: Operation): string {
  switch (operation.kind) {
    case 'entry':
      return `table ${hex(operation.frame)} entry ${operation.index} = ${hex64(operation.hi, operation.lo)}`
    case 'root':
      return `root entry of bus ${operation.bus} = ${hexWords(operation.words)}`
    case 'context':
      return `context of ${hex(operation.requester)} = ${hexWords(operation.words)}`
    case 'rootTable':
      return `root table at frame ${hex(operation.frame)}`
    case 'contexts': {
      const { granularity, domain, requester, functionMask } = operation
      return `invalidate contexts: granularity ${granularity}, domain ${domain}, requester ${hex(requester)}, mask ${functionMask}`
    }
    case 'translations': {
      const { granularity, domain, hi, lo, order, leafOnly } = operation
      const what = `granularity ${granularity}, domain ${domain}, ${hex64(hi, lo)} order ${order}`
      return `invalidate translations: ${what}${leafOnly ? ', leaves only' : ''}`
    }
    case 'descriptor':
      return `descriptor ${hexWords(operation.words)}`
    case 'dma':
      return `${describeDma(operation)}${operation.keep ? ', record kept' : ''}`
  }
}

const fault = (view: FaultView | null): string =>
  view === null ? '' : `status ${hex(view.status)} record ${view.record === null ? 'none' : hexWords(view.record)}`

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
