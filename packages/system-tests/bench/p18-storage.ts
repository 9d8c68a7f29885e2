/**
 * P18: a 256 MiB file read through the whole system (guest, blkif ring of requests of 11 segments, driver domain, hypervisor, VT-d, NVMe
 * controller) beside plain `readSync` of the same file in pieces of 44 KiB; without hashing on either side, and beside it with.
 * One operation is one piece.
 */
import { createHash, randomFillSync } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BlockStore, StoreStatus } from '@iospace/devices'
import { runStorage } from 'iospace'
import type { Benchmark, Session } from './harness/benchmark.ts'

const BYTES = 256 << 20
const PIECE = 44 << 10
const PIECES = Math.ceil(BYTES / PIECE)
const CHUNK = 1 << 20

function makeFile(path: string): number {
  const file = openSync(path, 'w+')
  const chunk = Buffer.alloc(CHUNK)
  for (let at = 0; at < BYTES; at += CHUNK) writeSync(file, randomFillSync(chunk))
  return file
}

const storeOf = (file: number): BlockStore => ({
  bytes: BYTES,
  readOnly: true,
  read: (offset, target, at, length) =>
    readSync(file, target, at, length, offset) === length ? StoreStatus.ok : StoreStatus.short,
  write: () => StoreStatus.readOnly,
  flush: () => StoreStatus.ok,
})

/** ns per piece of reading the file piece by piece; its SHA-256 where `hashing`. */
function plain(file: number, hashing: boolean): { ns: number; sha256: string | null } {
  const piece = Buffer.alloc(PIECE)
  const hash = hashing ? createHash('sha256') : null
  const start = performance.now()
  for (let at = 0; at < BYTES; at += PIECE) {
    const length = readSync(file, piece, 0, PIECE, at)
    hash?.update(piece.subarray(0, length))
  }
  const sha256 = hash?.digest('hex') ?? null
  return { ns: ((performance.now() - start) * 1e6) / PIECES, sha256 }
}

/** The same through the system, from power-on to the end of every domain. Throws unless every byte arrived. */
async function whole(file: number, hashing: boolean): Promise<{ ns: number; sha256: string | null }> {
  const system = { dma: 'xen', iommu: 'vtd', seed: 1, bytes: BYTES, writes: false } as const
  const start = performance.now()
  const { guest } = await runStorage({ system, image: storeOf(file), out: null, hash: hashing, attack: false })
  const ns = ((performance.now() - start) * 1e6) / PIECES
  if (guest === null || guest.problem !== null || guest.bytes !== BYTES) {
    throw new Error(`the guest did not read the disk: ${guest?.problem ?? 'its program ended early'}`)
  }
  return { ns, sha256: guest.sha256 }
}

async function start(): Promise<Session> {
  const folder = mkdtempSync(join(tmpdir(), 'iospace-bench-'))
  const file = makeFile(join(folder, 'disk'))
  // Once unmeasured: the file comes into the page cache, the code is compiled, and both sides must agree on the bytes.
  const [read, through] = [plain(file, true), await whole(file, true)]
  if (read.sha256 !== through.sha256) throw new Error('the guest read other bytes than are in the file')
  return {
    missing: {},
    round: async () => ({
      readSync: plain(file, false).ns,
      storage: (await whole(file, false)).ns,
      readSyncHashed: plain(file, true).ns,
      storageHashed: (await whole(file, true)).ns,
    }),
    end: () => {
      closeSync(file)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export const storage: Benchmark = {
  id: 'P18',
  aliases: ['storage'],
  title: 'a 256 MiB file through the whole system',
  goals: [
    {
      name: 'storage path, 44 KiB requests: speed of readSync',
      subject: 'storage',
      baseline: 'readSync',
      sense: 'at least',
      must: 0.15,
      stretch: 0.25,
    },
    {
      name: 'storage path with SHA-256 on both sides',
      subject: 'storageHashed',
      baseline: 'readSyncHashed',
      sense: 'at least',
      must: null,
      stretch: null,
    },
  ],
  start,
}
