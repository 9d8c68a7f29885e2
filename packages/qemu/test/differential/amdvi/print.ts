/** Operations of an AMD-Vi run in words, for people. */
import { hex } from '@iospace/wire'
import { describeDma, hex64, hexWords } from '../dma.ts'
import type { Operation } from './operation.ts'

export function describeOperation(operation: Operation): string {
  switch (operation.kind) {
    case 'entries': {
      const { frame, index, count, hi, lo } = operation
      return `table ${hex(frame)} entry ${index}${count > 1 ? `…${index + count - 1}` : ''} = ${hex64(hi, lo)}`
    }
    case 'device':
      return `device table entry of ${hex(operation.requester)} = ${hexWords(operation.words)}`
    case 'deviceTable':
      return `device table at frame ${hex(operation.frame)}, ${operation.pages} frames`
    case 'pages': {
      const { domain, hi, lo, order, directories } = operation
      return `invalidate pages: domain ${domain}, ${hex64(hi, lo)} order ${order}${directories ? ', directories too' : ''}`
    }
    case 'entry':
      return `invalidate device table entry of ${hex(operation.requester)}`
    case 'all':
      return 'invalidate all'
    case 'command':
      return `command ${hexWords(operation.words)}`
    case 'dma':
      return describeDma(operation)
  }
}
