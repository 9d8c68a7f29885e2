/**
 * What a mapping costs in the hypervisor: `node --conditions=@iospace/source bench/iommu-op.ts [samples]`. Lists of map and unmap, of map_grant and
 * unmap_grant, at three batch sizes, strict, with the real VT-d driver and hardware model behind; nanoseconds per element for the pair of calls,
 * the best of the samples.
 */
import {
  DEFAULT_KIND,
  HYPERCALL,
  IOMMU_OP,
  iommu_map,
  iommu_map_element,
  iommu_map_grant,
  iommu_map_grant_element,
  iommu_unmap,
  iommu_unmap_element,
  iommu_unmap_grant,
  iommu_unmap_grant_element,
} from '@iospace/abi'
import { addGuest, give } from '../test/builder.ts'
import { grant } from '../test/grants.ts'
import { type Guest, rig } from '../test/rig.ts'

const SAMPLES = Number(process.argv[2] ?? 400)
const SHIFT = iommu_map_element.shifts.flags

interface Pair {
  readonly name: string
  /** Fills in the lists for a batch. */
  prepare(batch: number): void
  /** Maps and unmaps a batch. */
  run(batch: number): void
}

const r = rig({ lowFrames: 8192, highFrames: 8192 })
const driver = addGuest(r, { pages: 1024 })
const granter = addGuest(r, { pages: 400, iommu: false })
give(r, driver, 0, { kind: DEFAULT_KIND.EMPTY, pinned: 1 << 20, tablePages: 4096 })
for (let i = 0; i < 256; i++) grant(granter, 8 + i, driver.domid, 10 + i)

const words = driver.view.memory.words
/** Word of a guest pointer, and the next list page: lists lie in pages of their own. */
const wordOf = (guest: Guest, pointer: number): number => guest.offset(pointer) >> 2
const LIST = { map: 100 * 4096, unmap: 120 * 4096, grant: 140 * 4096, ungrant: 160 * 4096 }
const ARGUMENT = { map: 90 * 4096, unmap: 91 * 4096, grant: 92 * 4096, ungrant: 93 * 4096 }

function argument(
  pointer: number,
  struct: {
    size: number
    words: { size: number; domid: number; 'list.array': number; 'list.count': number; 'list.stride': number }
  },
  list: number,
  count: number,
  stride: number,
): void {
  const at = wordOf(driver, pointer)
  words[at + struct.words.size] = struct.size
  words[at + struct.words.domid] = 0x7ff0
  words[at + struct.words['list.array']] = list
  words[at + struct.words['list.count']] = count
  words[at + struct.words['list.stride']] = stride
}

const at = (list: number, i: number, size: number, word: number): number => wordOf(driver, list + i * size + word * 4)
function call(op: number, pointer: number): void {
  const rc = driver.view.hypercall(HYPERCALL.iommu_op, op, pointer)
  if (rc !== 0) throw new Error(`iommu_op ${op}: ${rc}`)
}

const E = iommu_map_element
const U = iommu_unmap_element
const G = iommu_map_grant_element
const H = iommu_unmap_grant_element

const memory: Pair = {
  name: 'map + unmap',
  prepare(batch) {
    argument(ARGUMENT.map, iommu_map, LIST.map, batch, E.size)
    argument(ARGUMENT.unmap, iommu_unmap, LIST.unmap, batch, U.size)
    for (let i = 0; i < batch; i++) {
      words[at(LIST.map, i, E.size, E.words.gfn)] = driver.mfn(300 + (i % 512))
      words[at(LIST.map, i, E.size, E.words.pages)] = 1
      words[at(LIST.map, i, E.size, E.words.access)] = 3 | (1 << SHIFT)
      words[at(LIST.unmap, i, U.size, U.words.pages)] = 1
    }
  },
  run(batch) {
    call(IOMMU_OP.map, ARGUMENT.map)
    for (let i = 0; i < batch; i++) words[at(LIST.unmap, i, U.size, 0)] = words[at(LIST.map, i, E.size, 0)]!
    call(IOMMU_OP.unmap, ARGUMENT.unmap)
  },
}

const grants: Pair = {
  name: 'map_grant + unmap_grant',
  prepare(batch) {
    argument(ARGUMENT.grant, iommu_map_grant, LIST.grant, batch, G.size)
    argument(ARGUMENT.ungrant, iommu_unmap_grant, LIST.ungrant, batch, H.size)
    for (let i = 0; i < batch; i++) {
      words[at(LIST.grant, i, G.size, G.words.domid)] = granter.domid | (3 << G.shifts.access)
      words[at(LIST.grant, i, G.size, G.words.ref)] = 8 + i
      words[at(LIST.grant, i, G.size, G.words.flags)] = 1
    }
  },
  run(batch) {
    call(IOMMU_OP.map_grant, ARGUMENT.grant)
    for (let i = 0; i < batch; i++)
      words[at(LIST.ungrant, i, H.size, H.words.handle)] = words[at(LIST.grant, i, G.size, G.words.handle)]!
    call(IOMMU_OP.unmap_grant, ARGUMENT.ungrant)
  },
}

/** Fastest of many short runs, in ns per element: what the machine does when nobody disturbs it. */
function fastest(batch: number, run: () => void): number {
  const times = Math.max(1, Math.floor(2048 / batch))
  let best = Infinity
  for (let sample = 0; sample < SAMPLES; sample++) {
    const start = process.hrtime.bigint()
    for (let t = 0; t < times; t++) run()
    best = Math.min(best, Number(process.hrtime.bigint() - start) / times / batch)
  }
  return best
}

for (const pair of [memory, grants]) {
  for (const batch of [256, 16, 1]) {
    pair.prepare(batch)
    // Copying addresses and handles from list to list is the test's work, not the hypervisor's.
    const copying = fastest(batch, () => {
      for (let i = 0; i < batch; i++) words[at(LIST.unmap, i, U.size, 0)] = words[at(LIST.map, i, E.size, 0)]!
    })
    const ns = fastest(batch, () => pair.run(batch)) - copying
    console.log(`${pair.name.padEnd(24)} batch ${String(batch).padStart(3)}  ${ns.toFixed(1)} ns per element`)
  }
}
