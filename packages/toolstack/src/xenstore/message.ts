import { xsd_sockmsg, XS } from '@iospace/abi'
import { bytesOf } from './text.ts'

/** One message, its payload with one character per byte. */
export interface Message {
  readonly type: number
  readonly requestId: number
  readonly transaction: number
  readonly payload: string
}

/** A message as it travels: the 16-byte header, then the payload. */
export function encodeMessage({ type, requestId, transaction, payload }: Message): Uint8Array {
  const header = xsd_sockmsg.encode({ type, req_id: requestId, tx_id: transaction, len: payload.length })
  const bytes = new Uint8Array(header.length + payload.length)
  bytes.set(header)
  bytes.set(bytesOf(payload), header.length)
  return bytes
}

export const watchEvent = (path: string, token: string): Message => ({
  type: XS.WATCH_EVENT,
  requestId: 0,
  transaction: 0,
  payload: `${path}\0${token}\0`,
})
