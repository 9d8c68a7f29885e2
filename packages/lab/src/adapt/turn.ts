/** One macrotask of the host per call: what a scheduler needs to let a task run until nothing of it is left to run. */
export interface Turn {
  (): Promise<void>
}

/**
 * Turns over a MessageChannel, which browsers and Node have: 0.7 µs each, where a timer would wait a millisecond. `close` lets the
 * host's event loop end.
 */
export function messageTurn(): { readonly turn: Turn; readonly close: () => void } {
  const { port1, port2 } = new MessageChannel()
  let resolve: () => void = () => undefined
  port1.addEventListener('message', () => resolve())
  port1.start()
  const arm = (done: () => void): void => {
    resolve = done
    port2.postMessage(null)
  }
  return {
    turn: () => new Promise(arm),
    close: () => {
      port1.close()
      port2.close()
    },
  }
}
