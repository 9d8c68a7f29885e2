/**
 * Asynchronous events (NVMe 1.4 section 5.2): the controller answers a held request when something happens. After one event of a type
 * that type is silent until the host has read the log page that the event names.
 */
import { LogPage } from './spec/logs.ts'
import type { Engine } from './engine.ts'
import { Status } from './spec/status.ts'

/** Requests that may be outstanding; AERL is one less. */
export const MAX_EVENT_REQUESTS = 4

/** Information of an error event, type 0 (figure 147). */
export const ErrorEvent = { invalidDoorbellRegister: 0, invalidDoorbellValue: 1 } as const

/** dw0: type 2:0 (0: error status), information 15:8, log page 23:16. */
const errorEvent = (information: number): number => (information << 8) | (LogPage.errorInformation << 16)

export class Events {
  readonly #engine: Engine
  #pending = -1
  #silent = false

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Reports an error event; `information` is one of {@link ErrorEvent}. */
  report(information: number): void {
    if (this.#silent) return
    this.#silent = true
    const request = this.#engine.held()[0]
    if (request === undefined) {
      this.#pending = errorEvent(information)
      return
    }
    request.result = errorEvent(information)
    this.#engine.complete(request, Status.success)
  }

  /** The event that waits for a request, which takes it; or −1. */
  take(): number {
    const event = this.#pending
    this.#pending = -1
    return event
  }

  /** The host has read log page `id` and did not ask to keep its events. */
  acknowledged(id: number): void {
    if (id === LogPage.errorInformation) this.reset()
  }

  /** Nothing has happened, as far as the host is concerned. */
  reset(): void {
    this.#pending = -1
    this.#silent = false
  }
}
