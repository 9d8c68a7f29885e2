/**
 * The untrusted guest's program: reads its whole disk through blkfront and hashes it, writes it to a second disk if it has one, then
 * attacks with its own device.
 */
import { BlockOp, blkfront, streamBlocks, type Kernel, type KernelBuffer, type StreamResult } from '@iospace/linux'
import { runAttacks, type AttackPorts } from './attacks/run-attacks.ts'
import type { AttackRow } from './attacks/attack.ts'

export interface Hasher {
  update(bytes: Uint8Array): void
  /** Of everything, in hexadecimal. */
  digest(): string
}

export interface GuestOptions {
  /** The disk to read, and the one to write to: `xvda`, `xvdb`. */
  readonly source: string
  readonly target?: string
  /** Null: what arrives is not looked at. */
  readonly createHash: (() => Hasher) | null
  /** What a rogue device of this domain attacks; null: nothing. */
  readonly attacks: AttackPorts | null
  readonly onProgress?: (done: number, total: number) => void
  readonly onResult: (result: GuestResult) => void
}

export interface GuestResult {
  /** In hexadecimal; null without a hash, or when not everything arrived. */
  readonly sha256: string | null
  readonly bytes: number
  readonly requests: number
  readonly attacks: readonly AttackRow[]
  /** Why the disk was not read or written to its end, as a sentence; null when it was. */
  readonly problem: string | null
}

/** The program. */
export function guest(options: GuestOptions): (kernel: Kernel) => Promise<void> {
  return async (kernel) => {
    await kernel.xenbus.register(blkfront)
    const source = await kernel.block.wait(kernel, options.source)
    const target = options.target === undefined ? null : await kernel.block.wait(kernel, options.target)
    const hash = options.createHash?.() ?? null
    const { onProgress } = options
    let done = 0
    const result = await streamBlocks(kernel, source, {
      ...(target === null ? {} : { sink: target }),
      each: (buffer, length) => {
        if (hash !== null) hashPages(hash, buffer, length)
        done += length
        onProgress?.(done, source.bytes)
      },
    })
    const problem = problemOf(result)
    const attacks = options.attacks === null ? [] : await runAttacks(kernel, options.attacks)
    options.onResult({
      sha256: problem === null && hash !== null ? hash.digest() : null,
      bytes: result.bytes + result.written,
      requests: result.requests,
      attacks,
      problem,
    })
  }
}

/** Why the disk was not read or written to its end, as a sentence; null when it was. */
function problemOf({ status, failed }: StreamResult): string | null {
  if (failed === null) return null
  if (failed.op === BlockOp.flush) return `the disk could not make its data last (error ${status})`
  const what = failed.op === BlockOp.read ? 'read' : 'write'
  return `the disk could not ${what} ${failed.bytes} bytes at ${failed.offset} (error ${status})`
}

function hashPages(hash: Hasher, buffer: KernelBuffer, length: number): void {
  let left = length
  for (const page of buffer.views()) {
    if (left <= 0) return
    hash.update(left >= page.length ? page : page.subarray(0, left))
    left -= page.length
  }
}
