/**
 * P18: a 256 MiB file read through the whole system (guest, blkif ring of requests of 11 segments, driver domain, hypervisor, VT-d, NVMe
 * controller) beside plain `readSync` of the same file in pieces of 44 KiB; without hashing on either side, and beside it with.
 * One operation is one piece. What counts is CPU time of the thread; the wall's clock, with what else the machine does, is shown beside it.
 */
import { createHash, randomFillSync } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BlockStore, StoreStatus } from '@iospace/devices'
import { runStorage } from 'iospace'
import type { Benchmark, Session } from './harness/benchmark.ts'
import { now } from './harness/samples.ts'

const BYTES = 256 << 20
const PIECE = 44 << 10
const PIECES = Math.ceil(BYTES / PIECE)
const CHUNK = 1 << 20
/** Runs until the code is compiled: about three. */
const WARM_UPS = 4

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

/** What one reading took, in ns per piece: CPU time of this thread, and by the clock on the wall. */
interface Reading {
  readonly cpu: number
  readonly wall: number
  readonly sha256: string | null
}

async function timed(read: () => Promise<string | null> | string | null): Promise<Reading> {
  const [cpu, wall] = [now(), performance.now()]
  const sha256 = await read()
  return { cpu: (now() - cpu) / PIECES, wall: ((performance.now() - wall) * 1e6) / PIECES, sha256 }
}

/** Reads the file piece by piece; its SHA-256 where `hashing`. */
function plain(file: number, hashing: boolean): string | null {
  const piece = Buffer.alloc(PIECE)
  const hash = hashing ? createHash('sha256') : null
  for (let at = 0; at < BYTES; at += PIECE) {
    const length = readSync(file, piece, 0, PIECE, at)
    hash?.update(piece.subarray(0, length))
  }
  return hash?.digest('hex') ?? null
}

/** The same through the system, from power-on to the end of every domain. Throws unless every byte arrived. */
async function whole(file: number, hashing: boolean): Promise<string | null> {
  const system = { dma: 'xen', iommu: 'vtd', seed: 1, bytes: BYTES, writes: false } as const
  const { guest } = await runStorage({ system, image: storeOf(file), out: null, hash: hashing, attack: false })
  if (guest === null || guest.problem !== null || guest.bytes !== BYTES) {
    throw new Error(`the guest did not read the disk: ${guest?.problem ?? 'its program ended early'}`)
  }
  return guest.sha256
}

/** Plain readings around one through the system: each side's share of what else the machine does is about the same. */
async function side(file: number, hashing: boolean): Promise<{ readonly plain: Reading; readonly whole: Reading }> {
  const before = await timed(() => plain(file, hashing))
  const through = await timed(() => whole(file, hashing))
  const after = await timed(() => plain(file, hashing))
  const mean = (key: 'cpu' | 'wall') => (before[key] + after[key]) / 2
  return { plain: { cpu: mean('cpu'), wall: mean('wall'), sha256: before.sha256 }, whole: through }
}

async function start(hashing: boolean): Promise<Session> {
  const folder = mkdtempSync(join(tmpdir(), 'iospace-bench-'))
  const file = makeFile(join(folder, 'disk'))
  // Unmeasured first: the file comes into the page cache, and both sides must agree on the bytes. Then until the code is compiled.
  if (plain(file, true) !== (await whole(file, true)))
    throw new Error('the guest read other bytes than are in the file')
  for (let i = 0; i < WARM_UPS; i++) await whole(file, hashing)
  return {
    missing: {},
    round: async () => {
      const { plain: bare, whole: through } = await side(file, hashing)
      return {
        readSync: bare.cpu,
        storage: through.cpu,
        readSyncWall: bare.wall,
        storageWall: through.wall,
      }
    },
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
      name: 'the same by the clock on the wall',
      subject: 'storageWall',
      baseline: 'readSyncWall',
      sense: 'at least',
      must: null,
      stretch: null,
    },
  ],
  start: () => start(false),
}

/** A process of its own: code that is compiled for a run that hashes is slower in one that does not. */
export const storageHashed: Benchmark = {
  id: 'P18-hashed',
  aliases: ['storage-hashed'],
  title: 'a 256 MiB file through the whole system, hashed on both sides',
  goals: [
    {
      name: 'storage path with SHA-256 on both sides',
      subject: 'storage',
      baseline: 'readSync',
      sense: 'at least',
      must: null,
      stretch: null,
    },
  ],
  start: () => start(true),
}
