/** The SHA-256 of a file, computed beside the run in a worker: what the guest's answer is compared with. */
import { Worker } from 'node:worker_threads'
import { workerUrl } from './worker-url.ts'

export type FileHash = { readonly digest: string } | { readonly problem: string }

/** A hash under way; disposing of it stops it. */
export interface FileHashing extends Disposable {
  readonly result: Promise<FileHash>
}

/** Hashes the first `bytes` bytes of `path`. A file that cannot be read, or is shorter by now, is a `problem`. */
export function hashFile(path: string, bytes: number): FileHashing {
  const worker = new Worker(workerUrl('./hash-worker', import.meta.url), { workerData: { path, bytes } })
  const result = new Promise<FileHash>((resolve) => {
    worker.once('message', (hash: FileHash) => resolve(hash))
    worker.once('error', (error) => resolve({ problem: `${path} cannot be hashed: ${String(error)}` }))
  })
  return { result, [Symbol.dispose]: () => void worker.terminate() }
}
