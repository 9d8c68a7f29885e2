/**
 * The untrusted guest's program: reads its whole disk through blkfront and hashes it, writes it to a second disk if it has one, then
 * attacks with its own device.
 */
import { BlockOp, BlockRequest, BlockStatus, submit, blkfront, type BlockDevice, type Kernel } from '@iospace/linux'
import { runAttacks, type AttackPorts } from './attacks/run-attacks.ts'
import type { AttackRow } from './attacks/attack.ts'
import { copyDisk, type Hasher } from './copy-disk.ts'

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
    const copied = await copyDisk(kernel, {
      source,
      target,
      hash,
      onProgress: (done) => onProgress?.(done, source.bytes),
    })
    const flushed = copied.problem === null && target !== null && copied.requests > 0
    const problem = flushed ? await flush(kernel, target) : copied.problem
    const attacks = options.attacks === null ? [] : await runAttacks(kernel, options.attacks)
    options.onResult({
      sha256: problem === null && hash !== null ? hash.digest() : null,
      bytes: copied.bytes,
      requests: copied.requests + (flushed ? 1 : 0),
      attacks,
      problem,
    })
  }
}

/** Has the disk make everything last. Why it could not, or null. */
async function flush(kernel: Kernel, device: BlockDevice): Promise<string | null> {
  const request = new BlockRequest(0, () => undefined)
  request.op = BlockOp.flush
  const status = await submit(kernel, device, request)
  return status === BlockStatus.ok ? null : `the disk could not make its data last (error ${status})`
}
