import { XS } from '@iospace/abi'
import type { Answer } from '../src/xenstore/requests.ts'
import { Xenstore, type DomainTransport } from '../src/xenstore/xenstore.ts'
import type { Quota } from '../src/xenstore/quota.ts'

export type RequestName = keyof typeof XS

/** A store without domains, and what was opened and closed. */
export function makeStore(quota?: Quota) {
  const log: string[] = []
  const transport: DomainTransport = {
    open(domid, frame, port, connect) {
      log.push(`open ${domid} ${frame} ${port}`)
      if (frame === 0) return null
      connect({ event: () => undefined })
      return { close: () => void log.push(`close ${domid}`) }
    },
  }
  return { store: quota === undefined ? new Xenstore(transport) : new Xenstore(transport, quota), log }
}

/** A client of `domid` that keeps its events. */
export function clientOf(store: Xenstore, domid: number) {
  const events: string[] = []
  const connection = store.connect(domid, { event: (path, token) => void events.push(`${path} ${token}`) })
  /** An error's name, or the payload with `|` for each zero byte. */
  const call = (name: RequestName, payload: string, transaction = 0): string => {
    const answer: Answer = store.request(connection, XS[name], transaction, payload.replaceAll('|', '\0'))
    if (typeof answer === 'string') return answer
    answer.afterwards?.()
    return answer.payload.replaceAll('\0', '|')
  }
  /** The events since the last time. */
  const fired = (): string[] => events.splice(0)
  return { call, fired, connection }
}
