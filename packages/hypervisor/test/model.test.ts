/**
 * Random sequences of map, unmap, map_grant, unmap_grant, flush, attach and detach against a model of two dozen lines: an I/O space is a table from
 * page to frame and access. After each step the device reaches exactly what the model says (or, while an invalidation is pending, no more than
 * the frames that are still held); when all is undone, every count is zero.
 */
import { expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  FLUSH_FLAGS,
  IOMMU_FLAG,
  IOMMU_OP,
  MAP_ELEMENT_FLAGS,
  iommu_attach_device,
  iommu_detach_device,
  iommu_flush,
} from '@iospace/abi'
import { addGuest, deviceOf, give, iommuOp } from './builder.ts'
import { entryFlags, grant } from './grants.ts'
import { type GrantElement, type MapElement, mapGrants, mapList, page, unmapGrants, unmapList } from './lists.ts'
import { fc, runs } from './property.ts'
import { rig } from './rig.ts'

/** Explicit addresses are few, so that they collide; ANY stays below them. */
const PAGES = 8
const BASE = 0x400
const FRAMES = 6
const REFS = 3

type Step =
  | {
      readonly kind: 'map'
      readonly elements: readonly {
        readonly at: number
        readonly frame: number
        readonly access: number
        readonly way: 'explicit' | 'any' | 'follows'
      }[]
      readonly atomic: boolean
    }
  | {
      readonly kind: 'unmap'
      readonly ranges: readonly { readonly at: number; readonly pages: number }[]
      readonly defer: boolean
      readonly goOn: boolean
      readonly holes: boolean
    }
  | {
      readonly kind: 'grant'
      readonly elements: readonly { readonly at: number; readonly ref: number; readonly access: number }[]
    }
  | { readonly kind: 'ungrant'; readonly which: readonly number[]; readonly defer: boolean }
  | { readonly kind: 'flush' }
  | { readonly kind: 'attach' }
  | { readonly kind: 'detach' }

const at = fc.nat(PAGES - 1)
const access = fc.integer({ min: 1, max: 3 })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('map' as const),
      elements: fc.array(
        fc.record({
          at,
          frame: fc.nat(FRAMES),
          access,
          way: fc.constantFrom('explicit' as const, 'explicit' as const, 'any' as const, 'follows' as const),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      atomic: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('unmap' as const),
      ranges: fc.array(fc.record({ at, pages: fc.integer({ min: 1, max: 3 }) }), { minLength: 1, maxLength: 3 }),
      defer: fc.boolean(),
      goOn: fc.boolean(),
      holes: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('grant' as const),
      elements: fc.array(fc.record({ at, ref: fc.nat(REFS), access }), { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('ungrant' as const),
      which: fc.array(fc.nat(5), { minLength: 1, maxLength: 3 }),
      defer: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('flush' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('attach' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('detach' as const) }) },
)

/** What a page of the space holds, in the model. */
interface Entry {
  readonly mark: number
  readonly access: number
  /** Pages of one mapping have the same number. */
  readonly mapping: number
  readonly handle: number | null
}

test('any sequence of calls: the device reaches what the model says, and when all is undone all counts are zero (I1, I3, I12, I19)', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 25 }), (steps) => {
      const r = rig({ lowFrames: 256, highFrames: 256, dom0Pages: 64, devices: 1 })
      const driver = addGuest(r, { pages: 40 })
      const guest = addGuest(r, { pages: 20, iommu: false })
      give(r, driver, 0, { kind: DEFAULT_KIND.EMPTY, deferred: 1000 })
      const { device, sbdf } = deviceOf(r, 0)
      // Frame i is marked 0x80 + i, grant i 0xc0 + i; frame FRAMES and grant REFS do not exist.
      for (let i = 0; i < FRAMES; i++) driver.poke(10 + i, 0, 0x80 + i)
      for (let i = 0; i < REFS; i++) {
        grant(guest, 8 + i, driver.domid, 5 + i, i === 2 ? 5 : 1)
        guest.poke(5 + i, 0, 0xc0 + i)
      }
      let model = new Map<number, Entry>()
      /** Unmapped, and perhaps still reached: addresses are taken. */
      let pending = new Map<number, Entry>()
      let attached = true
      let mappings = 0
      const complete = (): void => pending.clear()
      const taken = (where: number): boolean => model.has(where) || pending.has(where)

      const map = ({ elements, atomic }: Step & { kind: 'map' }): void => {
        const list = elements.map(({ at: where, frame, access: wanted, way }): Partial<MapElement> => ({
          ...(frame < FRAMES ? page(driver, 10 + frame) : { gfn: 1n, pages: 1n }),
          access: wanted,
          ...(way === 'explicit'
            ? { io_address: BigInt(BASE + where) * 4096n }
            : {
                flags: way === 'any' ? MAP_ELEMENT_FLAGS.ANY : MAP_ELEMENT_FLAGS.FOLLOWS,
                limit: BigInt(BASE) * 4096n - 1n,
              }),
        }))
        const result = mapList(driver, 0, list, { flags: atomic ? IOMMU_FLAG.ALL_OR_NOTHING : 0 })
        const next = new Map(model)
        let done = 0
        let last = -1
        for (const { at: where, frame, access: wanted, way } of elements) {
          let target =
            way === 'explicit'
              ? BASE + where
              : way === 'follows'
                ? last + 1
                : Number(result.elements[done]!.io_address / 4096n)
          if (way === 'follows' && last < 0) break
          // An explicit map completes what is pending there.
          if (way !== 'any' && pending.has(target)) complete()
          if (way !== 'any' && (next.has(target) || target < 1)) break
          if (frame >= FRAMES) break
          // When an atomic list fails later, nobody knows what ANY would have been.
          if (way === 'any' && result.rc !== 0 && atomic) target = 1_000_000 + done
          if (way === 'any' && !(result.rc !== 0 && atomic)) expect(taken(target)).toBe(false)
          if (way !== 'follows') mappings++
          next.set(target, { mark: 0x80 + frame, access: wanted, mapping: mappings, handle: null })
          last = target
          done++
        }
        const all = done === elements.length
        expect([result.rc === 0, result.done]).toEqual([all, atomic && !all ? 0 : done])
        if (!atomic || all) model = next
      }

      const unmap = ({ ranges, defer, goOn, holes }: Step & { kind: 'unmap' }): void => {
        const flags = (defer ? IOMMU_FLAG.NO_FLUSH : 0) | (goOn ? IOMMU_FLAG.CONTINUE : 0) | (holes ? 8 : 0)
        const result = unmapList(
          driver,
          0,
          ranges.map(({ at: where, pages }) => ({ io_address: BigInt(BASE + where) * 4096n, pages: BigInt(pages) })),
          { flags },
        )
        let done = 0
        for (const { at: where, pages } of ranges) {
          const range = Array.from({ length: pages }, (_, i) => BASE + where + i)
          const inside = range.filter((one) => model.has(one))
          const whole = inside.every((one) =>
            [...model].every(([other, entry]) => entry.mapping !== model.get(one)!.mapping || range.includes(other)),
          )
          const grants = inside.some((one) => model.get(one)!.handle !== null)
          if (whole && !grants && (holes || inside.length === pages)) {
            for (const one of inside) {
              pending.set(one, model.get(one)!)
              model.delete(one)
            }
            done++
          } else if (!goOn) break
        }
        expect([result.done, result.rc === 0]).toEqual([done, goOn || done === ranges.length])
        if (!defer) complete()
      }

      const mapGrant = ({ elements }: Step & { kind: 'grant' }): void => {
        const list = elements.map(({ at: where, ref, access: wanted }): Partial<GrantElement> => ({
          domid: guest.domid,
          ref: 8 + ref,
          access: wanted,
          io_address: BigInt(BASE + where) * 4096n,
        }))
        const result = mapGrants(driver, 0, list)
        let done = 0
        for (const { at: where, ref, access: wanted } of elements) {
          if (pending.has(BASE + where)) complete()
          if (model.has(BASE + where) || ref >= REFS || (ref === 2 && wanted !== 1)) break
          model.set(BASE + where, {
            mark: 0xc0 + ref,
            access: wanted,
            mapping: ++mappings,
            handle: result.elements[done]!.handle,
          })
          done++
        }
        expect(result.done).toBe(done)
      }

      const unmapGrant = ({ which, defer }: Step & { kind: 'ungrant' }): void => {
        const live = [...model].filter(([, { handle }]) => handle !== null)
        const handles = which.map((i) => live[i]?.[1].handle ?? 0xdead)
        const result = unmapGrants(driver, 0, handles, {
          flags: IOMMU_FLAG.CONTINUE | (defer ? IOMMU_FLAG.NO_FLUSH : 0),
        })
        let done = 0
        for (const handle of handles) {
          const found = [...model].find(([, entry]) => entry.handle === handle)
          if (found === undefined) continue
          pending.set(...found)
          model.delete(found[0])
          done++
        }
        expect([result.rc, result.done]).toEqual([0, done])
        if (!defer) complete()
      }

      for (const one of steps) {
        if (one.kind === 'map') map(one)
        else if (one.kind === 'unmap') unmap(one)
        else if (one.kind === 'grant') mapGrant(one)
        else if (one.kind === 'ungrant') unmapGrant(one)
        else if (one.kind === 'flush') {
          expect(iommuOp(driver, IOMMU_OP.flush, iommu_flush, { space: 0, flags: FLUSH_FLAGS.ALL }).rc).toBe(0)
          complete()
        } else if (one.kind === 'attach') {
          expect(iommuOp(driver, IOMMU_OP.attach_device, iommu_attach_device, { device: sbdf, space: 0 }).rc).toBe(0)
          attached = true
          complete()
        } else {
          expect(iommuOp(driver, IOMMU_OP.detach_device, iommu_detach_device, { device: sbdf }).rc).toBe(
            attached ? 0 : -2,
          )
          if (attached) complete()
          attached = false
        }
        for (let where = BASE - 1; where <= BASE + PAGES + 3; where++) {
          const entry = model.get(where)
          const stale = pending.get(where)
          const got = device.read(where * 4096)
          const reads = attached && entry !== undefined && (entry.access & 1) !== 0
          if (reads) expect([where, got]).toEqual([where, entry.mark])
          else if (got >= 0) expect([where, got]).toEqual([where, stale?.mark])
        }
        const held = [...model.values(), ...pending.values()]
        const references = held.reduce((sum, { access: wanted }) => sum + 1 + (wanted >> 1), 0)
        expect(r.hypervisor.snapshot().references).toBe(references)
      }
      pending = new Map()
      const handles = [...model.values()].flatMap(({ handle }) => (handle === null ? [] : [handle]))
      expect(unmapGrants(driver, 0, handles).done).toBe(handles.length)
      expect(unmapList(driver, 0, [], { flags: IOMMU_FLAG.ALL }).rc).toBe(0)
      const after = r.hypervisor.snapshot()
      expect([after.references, after.mappings.made, after.mappings.pagesMade]).toEqual([
        0,
        after.mappings.ended,
        after.mappings.pagesEnded,
      ])
      expect(after.domains.find(({ domid }) => domid === driver.domid)).toMatchObject({
        pinned: 0,
        deferred: 0,
        grantHandles: 0,
      })
      expect([0, 1, 2].map((ref) => entryFlags(guest, 8 + ref))).toEqual([1, 1, 5])
    }),
    runs(150),
  )
}, 60_000)
