/**
 * P6: decode, dispatch and reply of a 32-byte argument that lies in machine memory, by the word tables of its struct, as hypercall
 * handlers do it; beside the same in C (`c/hypercall.c`), and beside decode and encode by restructure itself, whose schema the tables
 * come from. All three leave the same bytes.
 */
import { MachineMemory, PAGE_SIZE } from '@iospace/machine'
import { i32, struct, u16, u32, u64 } from '@iospace/wire'
import type { Benchmark, Session } from './harness/benchmark.ts'
import { CProgram } from './harness/c-program.ts'
import { sample } from './harness/samples.ts'

/** The request of `c/hypercall.c`. */
const request = struct('bench_request', {
  op: u32,
  flags: u16,
  space: u16,
  count: u32,
  status: i32,
  ioaddr: u64,
  frame: u64,
})

/** A restructure schema as its own documentation has it. */
interface Schema {
  fromBuffer(bytes: Uint8Array): ReturnType<typeof request.decode>
  toBuffer(value: ReturnType<typeof request.decode>): Uint8Array
}

const W = request.words
const S = request.shifts
const WORDS = request.size / 4

const REQUESTS = 4096
const ENTRIES = 65536
const MAP = 0
const UNMAP = 1
const SPACE = 3
const EINVAL = -22
const ENOSYS = -38

const memory = new MachineMemory({ lowFrames: 256, highFrames: 1, boardBytes: 0 })
const { words } = memory
const ring = (16 * PAGE_SIZE) / 4
const table = (64 * PAGE_SIZE) / 4

/** Bits of an I/O address's low word that must be 0: its page offset, and what lies above the table. */
const BAD_ADDRESS = 0xf000_0fff
const OUTSIDE = 0xf000_0000
/** A word index that is known to be below 2^30 needs no overflow check where a field's index is added. */
const INDEX = 0x3fff_ffff

function map(at: number): number {
  const flags = words[at + W.flags]!
  const lo = words[at + W.ioaddr]!
  if (flags >>> S.space !== SPACE || words[at + W.count] !== 1) return EINVAL
  if ((lo & BAD_ADDRESS) !== 0 || words[at + W.ioaddr + 1] !== 0) return EINVAL
  const frame = words[at + W.frame]!
  const entry = table + 2 * (lo >>> 12)
  words[entry] = (frame << 12) | ((flags >>> S.flags) & 3)
  words[entry + 1] = (words[at + W.frame + 1]! << 12) | (frame >>> 20)
  return 0
}

function unmap(at: number): number {
  const lo = words[at + W.ioaddr]!
  if (words[at + W.space]! >>> S.space !== SPACE) return EINVAL
  if ((lo & OUTSIDE) !== 0 || words[at + W.ioaddr + 1] !== 0) return EINVAL
  const entry = table + 2 * (lo >>> 12)
  words[entry] = 0
  words[entry + 1] = 0
  return 0
}

function dispatch(at: number): number {
  switch (words[at + W.op]) {
    case MAP:
      return map(at)
    case UNMAP:
      return unmap(at)
    default:
      return ENOSYS
  }
}

/** All requests of the ring; what the replies add up to. */
function byWordTables(): number {
  let sum = 0
  for (let i = 0; i < REQUESTS; i++) {
    const at = (ring + i * WORDS) & INDEX
    const status = dispatch(at)
    words[at + W.status] = status
    sum = (sum + status + words[at + W.frame]!) | 0
  }
  return sum >>> 0
}

const schema = request.schema as Schema
/** Requests that restructure is timed on: it takes a thousand times as long. */
const FEW = 64

/** One request by restructure: decode, the same checks on the object, encode of the reply. */
function byRestructure(bytes: Uint8Array): Uint8Array {
  const value = schema.fromBuffer(bytes)
  const page = Number(value.ioaddr >> 12n)
  if (value.op > UNMAP) value.status = ENOSYS
  else if (value.space !== SPACE || page >= ENTRIES) value.status = EINVAL
  else if (value.op === MAP && (value.count !== 1 || (value.ioaddr & 0xfffn) !== 0n)) value.status = EINVAL
  else value.status = 0
  return schema.toBuffer(value)
}

const requestBytes = (i: number): Uint8Array =>
  memory.bytes.subarray(4 * ring + i * request.size, 4 * ring + (i + 1) * request.size)

/** The requests of `c/hypercall.c`, from the same random numbers. */
function fill(): void {
  let state = 12345
  const next = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state & 0xffff
  }
  for (let i = 0; i < REQUESTS; i++) {
    const ioaddr = BigInt(next()) << 12n
    const frame = BigInt(next())
    const value = { op: i & 1, flags: 3, space: SPACE, count: 1, status: -1, ioaddr, frame }
    request.write(memory.view, 4 * (ring + i * WORDS), value)
  }
}

/** Throws unless all ways of doing it leave the same bytes. */
function check(c: CProgram | string): void {
  const expected = Array.from({ length: REQUESTS }, (_, i) => byRestructure(requestBytes(i)))
  const sum = byWordTables()
  for (const [i, bytes] of expected.entries()) {
    if (Buffer.compare(bytes, requestBytes(i)) !== 0)
      throw new Error(`request ${i}: word tables and restructure differ`)
  }
  if (typeof c === 'string') return
  const theirs = c.run()['hypercall_decode']!.sum
  if (theirs !== sum) throw new Error(`the C program computed ${theirs}, the word tables ${sum}`)
}

/** The loop over word tables, ready to run: {@link REQUESTS} operations a call. */
export function wordTableLoop(): { readonly operations: number; readonly run: () => void } {
  fill()
  return { operations: REQUESTS, run: byWordTables }
}

async function start(): Promise<Session> {
  fill()
  const c = CProgram.compile('hypercall')
  check(c)
  const few = Array.from({ length: FEW }, (_, i) => requestBytes(i).slice())
  return {
    missing: typeof c === 'string' ? { c } : {},
    round: async () => ({
      ...(typeof c === 'string' ? {} : { c: c.run()['hypercall_decode']!.ns }),
      words: sample(byWordTables, REQUESTS),
      restructure: sample(() => few.forEach(byRestructure), FEW),
    }),
    end: () => typeof c !== 'string' && c.remove(),
  }
}

export const hypercall: Benchmark = {
  id: 'P6',
  aliases: ['hypercall'],
  title: 'decode, dispatch and reply of a 32-byte argument',
  goals: [
    {
      name: '32-byte argument: word tables / C',
      subject: 'words',
      baseline: 'c',
      sense: 'at most',
      must: 1.75,
      stretch: 1.4,
    },
    {
      name: '32-byte argument: word tables faster than restructure',
      subject: 'words',
      baseline: 'restructure',
      sense: 'at least',
      must: 600,
      stretch: null,
    },
  ],
  start,
}
