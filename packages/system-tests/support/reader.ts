/** A well-behaved guest: reads its whole disk through blkfront, several times, and tells what it hashes to. */
import { createHash } from 'node:crypto'
import type { Program } from '@iospace/lab'
import { blkfront, streamBlocks, type Kernel } from '@iospace/linux'

export interface ReaderOptions {
  readonly readings: number
  /** Awaited before reading number `reading`, counted from 0. */
  readonly before?: (kernel: Kernel, reading: number) => Promise<void>
  /** The SHA-256 of a reading in hexadecimal, or why there is none. */
  readonly onHash: (hash: string) => void
}

export function reader({ readings, before, onHash }: ReaderOptions): Program {
  return async (kernel) => {
    await kernel.xenbus.register(blkfront)
    const disk = await kernel.block.wait(kernel, 'xvda')
    for (let reading = 0; reading < readings; reading++) {
      await before?.(kernel, reading)
      onHash(await hashDisk(kernel, disk))
    }
  }
}

/** The SHA-256 of all of `disk`, or `error` with the status of the request that failed. Tasks only. */
export async function hashDisk(kernel: Kernel, disk: Parameters<typeof streamBlocks>[1]): Promise<string> {
  const hash = createHash('sha256')
  const { status } = await streamBlocks(kernel, disk, {
    depth: 8,
    each: (buffer, length) => hash.update(buffer.read(0, new Uint8Array(length))),
  })
  return status === 0 ? hash.digest('hex') : `error ${status}`
}
