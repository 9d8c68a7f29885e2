/**
 * Ends a run in which the host's own thread loops without ever coming back to the simulation: a guest program that calls nothing
 * cannot be stopped from inside. A worker looks for a heartbeat; when it stops, it pauses the main thread through the inspector,
 * prints where it loops, and ends the process with status 1.
 */
import { Worker } from 'node:worker_threads'
import { workerUrl } from '../files/worker-url.ts'

export interface WatchdogOptions {
  /** Seconds without a heartbeat after which the run is given up. */
  readonly seconds: number
}

export class Watchdog implements Disposable {
  readonly #beats = new Int32Array(new SharedArrayBuffer(4))
  readonly #worker: Worker

  constructor({ seconds }: WatchdogOptions) {
    this.#worker = new Worker(workerUrl('./watchdog-worker', import.meta.url), {
      workerData: { beats: this.#beats, seconds },
    })
    this.#worker.unref()
  }

  /** The main thread is alive: called at every turn of the simulation. */
  beat(): void {
    this.#beats[0]!++
  }

  [Symbol.dispose](): void {
    void this.#worker.terminate()
  }
}
