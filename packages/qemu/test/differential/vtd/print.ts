/** Operations of a VT-d run in words, for people. */
import { hex } from '@iospace/wire'
import { describeDma, hex64, hexWords } from '../dma.ts'
import type { Operation } from './operation.ts'

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
