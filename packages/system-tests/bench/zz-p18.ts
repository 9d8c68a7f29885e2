import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BlockStore, StoreStatus } from '@iospace/devices'
import { runStorage } from 'iospace'
const MIB = Number(process.argv[2] ?? 256), N = Number(process.argv[3] ?? 5)
const BYTES = MIB << 20, PIECE = 44 << 10, PIECES = Math.ceil(BYTES / PIECE)
const path = join(tmpdir(), 'zzp18-' + process.pid)
const file = openSync(path, 'w+')
const chunk = Buffer.alloc(1 << 20, 7)
for (let at = 0; at < BYTES; at += 1 << 20) writeSync(file, chunk)
const storeOf = (): BlockStore => ({ bytes: BYTES, readOnly: true,
  read: (offset, target, at, length) => readSync(file, target, at, length, offset) === length ? StoreStatus.ok : StoreStatus.short,
  write: () => StoreStatus.readOnly, flush: () => StoreStatus.ok })
const cpu = () => { const c = process.cpuUsage(); return (c.user + c.system) / 1e3 }
let turns = 0
let bestC = 1e9, bestP = 1e9, bestW = 1e9, bestPW = 1e9
for (let i = 0; i < N; i++) {
  let a = cpu(), w = performance.now()
  const piece = Buffer.alloc(PIECE)
  for (let at = 0; at < BYTES; at += PIECE) readSync(file, piece, 0, PIECE, at)
  bestP = Math.min(bestP, cpu() - a); bestPW = Math.min(bestPW, performance.now() - w)
  a = cpu(); w = performance.now(); turns = 0
  const { guest, system } = await runStorage({ system: { dma: 'xen', iommu: 'vtd', seed: 1, bytes: BYTES, writes: false } as never, image: storeOf(), out: null, hash: false, attack: false, onTurn: () => { turns++ } })
  if (guest === null || guest.bytes !== BYTES) throw new Error('bad ' + guest?.problem)
  const c = cpu() - a, ww = performance.now() - w
  bestC = Math.min(bestC, c); bestW = Math.min(bestW, ww)
  if (process.env.V) console.log(i, c.toFixed(0), ww.toFixed(0))
  if (i === N - 1 && process.env.V) { console.log(turns, 'turns'); console.log((system as any).machine?.clock.snapshot(), JSON.stringify((system as any).hypervisor?.snapshot().hypercalls)) }
}
console.log(`plain cpu ${bestP.toFixed(1)} ms wall ${bestPW.toFixed(1)}; whole cpu ${bestC.toFixed(1)} ms wall ${bestW.toFixed(1)} = ${(bestC * 1e3 / PIECES).toFixed(1)} us/req; ratio cpu ${(bestP / bestC).toFixed(3)} wall ${(bestPW / bestW).toFixed(3)}`)
closeSync(file); rmSync(path)
