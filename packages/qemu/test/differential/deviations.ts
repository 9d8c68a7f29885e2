/**
 * Where QEMU's VT-d unit is known to differ from the facts, and by that from our model. A difference that none of these explains fails
 * a run; so does one of these that a full run never meets.
 */
import { vtd } from '@iospace/iommu/spec'
import type { CachedPage } from './cached.ts'
import { reasonOf, recordNames, type Difference } from './difference.ts'
import type { Observation } from './side.ts'
import type { Walk } from './tables.ts'

const { FaultReason, FaultStatus, Granularity } = vtd

export interface Deviation {
  readonly id: string
  readonly reason: string
  /** Where it is written, in the facts or in the specification. */
  readonly reference: string
  /** First version of QEMU, as measured, that does not have it. */
  readonly until?: readonly [major: number, minor: number]
  explains(difference: Difference): boolean
}

export const vtdDeviations: readonly Deviation[] = [
  {
    id: 'pasid-without-pp',
    reason: 'the PASID field of a record is all ones although PP is 0: the field means nothing then',
    reference: "facts, QEMU intel-iommu: “the record's PASID field holds 0xFFFF although PP=0”",
    explains: ({ parts }) => parts.length === 1 && parts[0] === 'pasid',
  },
  {
    id: 'all-ones-entry',
    reason: 'an entry of all ones counts as one that cannot be read: reason 3 or 7 instead of C',
    reference: 'facts, QEMU intel-iommu: “an all-ones entry gives reason 3 or 7 instead of C”',
    explains: ({ touched, ours, qemu }) =>
      touched.some(({ walk }) => walk.allOnes) &&
      recorded(ours, FaultReason.pageReserved) > 0 &&
      recorded(qemu, FaultReason.contextInvalid) + recorded(qemu, FaultReason.pageEntryAccess) > 0,
  },
  {
    id: 'reserved-context-is-never-silent',
    reason: 'reason B is recorded although the context entry has FPD set',
    reference: 'facts A.3: QEMU leaves 0xB out of the reasons that FPD holds back',
    explains: ({ touched, ours, qemu }) =>
      touched.some(({ walk }) => walk.outcome === -FaultReason.contextReserved && walk.faultsDisabled) &&
      recorded(qemu, FaultReason.contextReserved) > recorded(ours, FaultReason.contextReserved),
  },
  {
    id: 'cached-rights-are-final',
    reason: 'a cached page that lacks the right is refused without a look at the tables, and without a record',
    reference: 'facts, QEMU intel-iommu: “the one DIFF”',
    explains: ({ operation, touched, qemu }) => {
      if (operation.kind !== 'dma') return false
      const need = operation.write ? 2 : 1
      return touched.some(
        ({ cached }, i) =>
          cached !== undefined &&
          (cached.renewed || ((cached.rights & need) === 0 && !recordNames(qemu.fault, operation, i))),
      )
    },
  },
  {
    id: 'window-by-page',
    reason: 'reason E is decided for the whole leaf page, not for the address inside it',
    reference: 'facts, QEMU intel-iommu: “a 1 GiB leaf at 0xC0000000 always faults”',
    explains: ({ touched }) =>
      touched.some(({ walk, cached }) => coversWindow(pageOf(walk)) || (cached !== undefined && coversWindow(cached))),
  },
  {
    id: 'large-page-covers-the-rest',
    reason:
      'a transfer that begins in a large page goes on in it, though a smaller page of the range ahead is cached too',
    reference: 'QEMU moves a range in pieces of the translation it got, not of 4 KiB; measured, 7.2',
    explains: ({ operation, touched }) =>
      operation.kind === 'dma' &&
      touched.length > (operation.write ? 1 : 2) &&
      touched.some(({ cached, walk }, i) => {
        const next = touched[i + 1]?.cached
        const order = cached?.order ?? pageOf(walk).order
        return order > 0 && next !== undefined && next.order < order
      }),
  },
  {
    id: 'translations-before-contexts',
    reason:
      'a cached page is used although the context that led to it was invalidated, or has become too narrow for it',
    reference: 'facts, QEMU intel-iommu: “context flush alone leaves cached pages usable”',
    explains: ({ touched, context }) =>
      context?.spared === 'hit' ||
      touched.some(
        ({ cached, walk }) =>
          cached !== undefined && (context === undefined || walk.outcome === -FaultReason.addressBeyondWidth),
      ),
  },
  {
    id: 'translations-by-source',
    reason:
      'cached pages belong to the requester: they serve it after it went to another domain, and never serve another requester',
    reference: "facts E: the key of QEMU's IOTLB is gfn, source id and level",
    explains: ({ touched, context }) =>
      touched.some(
        ({ cached, foreign }) =>
          foreign !== undefined || (cached !== undefined && context !== undefined && cached.domain !== context.domain),
      ),
  },
  {
    id: 'domain-contexts-are-global',
    reason: 'a context invalidation of a domain is carried out, and reported, as a global one',
    reference: 'facts E, QEMU VT-d (1)',
    explains: ({ operation, context, ours, qemu }) =>
      context?.spared === 'domain' ||
      (operation.kind === 'contexts' &&
        operation.granularity === Granularity.domain &&
        (ours.result & 3) === Granularity.domain &&
        (qemu.result & 3) === Granularity.global),
  },
  {
    id: 'device-contexts-whatever-domain',
    reason: 'a context invalidation of a device drops its context though the domain in the command is another',
    reference: 'facts A.5 and A.6: the command names domain and source; measured, 7.2',
    explains: ({ context }) => context?.spared === 'device',
  },
  {
    id: 'pass-through-ahead',
    reason: 'an invalidation of contexts looks for those that pass requests, and lets them pass until the next one',
    reference: 'a unit may read contexts ahead, ours does not; measured, 7.2',
    explains: ({ passing }) => passing,
  },
  {
    id: 'unadvertised-descriptors',
    reason: 'descriptors of device TLBs, interrupt entries and PASIDs are taken without the capability',
    reference: 'facts A.5: unknown types stop the queue; measured, 7.2',
    explains: ({ operation, ours, qemu }) =>
      operation.kind === 'descriptor' &&
      [3, 4, 6, 7].includes(operation.words[0] & 0xf) &&
      ours.result !== 0 &&
      qemu.result === 0,
  },
  {
    id: 'plain-wait-is-refused',
    reason: 'a wait that neither writes nor interrupts stops the queue; it should only be a fence',
    reference: 'facts A.5, descriptor type 5; measured, 7.2',
    explains: ({ operation, ours, qemu }) =>
      operation.kind === 'descriptor' && (operation.words[0] & 0x3f) === 5 && ours.result === 0 && qemu.result !== 0,
  },
  {
    id: 'eight-bit-page-mask',
    reason:
      'an invalidation of pages drops every page of the domain that agrees in the lowest 8 bits of the mask: too many',
    reference: 'facts E, QEMU VT-d (8)',
    until: [10, 0],
    explains: ({ touched, qemu }) =>
      touched.some(
        ({ cached, walk }) => cached?.aliased === true && (walk.outcome >= 0 || recorded(qemu, -walk.outcome) > 0),
      ),
  },
]

/** Those that QEMU of `version` has. */
export const deviationsOf = (version: readonly [number, number]): readonly Deviation[] =>
  vtdDeviations.filter(({ until }) => until === undefined || isBefore(version, until))

const isBefore = ([major, minor]: readonly [number, number], [a, b]: readonly [number, number]): boolean =>
  major < a || (major === a && minor < b)

/** How often a fault of `reason` is told of, one that found the record taken included. */
const recorded = ({ fault, readback }: Observation, reason: number): number =>
  [fault, readback]
    .map((view) => Number(reasonOf(view) === reason) + Number(((view?.status ?? 0) & FaultStatus.overflow) !== 0))
    .reduce((sum, count) => sum + count)

const pageOf = ({ frame, leafLevel }: Walk): Pick<CachedPage, 'frame' | 'order'> => ({
  frame,
  order: 9 * (leafLevel - 1),
})

/** A large page that has frames of the interrupt window in it. */
const coversWindow = ({ frame, order }: Pick<CachedPage, 'frame' | 'order'>): boolean =>
  order > 0 && frame <= 0xfeeff && frame + 2 ** order > 0xfee00
