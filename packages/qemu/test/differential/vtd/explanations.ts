/**
 * What each deviation of `deviations.json` explains: where QEMU's VT-d unit is known to differ from the facts, and by that from our
 * model.
 */
import { vtd } from '@iospace/iommu/spec'
import type { CachedPage } from './cached.ts'
import { reasonOf, recordNames, type Difference } from './difference.ts'
import type { Observation } from './side.ts'
import type { Walk } from './tables.ts'

const { FaultReason, FaultStatus, Granularity } = vtd

export const explanations: Readonly<Record<string, (difference: Difference) => boolean>> = {
  'pasid-without-pp': ({ parts }) => parts.length === 1 && parts[0] === 'pasid',
  'all-ones-entry': ({ touched, ours, qemu }) =>
    touched.some(({ walk }) => walk.allOnes) &&
    recorded(ours, FaultReason.pageReserved) > 0 &&
    recorded(qemu, FaultReason.contextInvalid) + recorded(qemu, FaultReason.pageEntryAccess) > 0,
  'reserved-context-is-never-silent': ({ touched, ours, qemu }) =>
    touched.some(({ walk }) => walk.outcome === -FaultReason.contextReserved && walk.faultsDisabled) &&
    recorded(qemu, FaultReason.contextReserved) > recorded(ours, FaultReason.contextReserved),
  'cached-rights-are-final': ({ operation, touched, qemu }) => {
    if (operation.kind !== 'dma') return false
    const need = operation.write ? 2 : 1
    return touched.some(
      ({ cached }, i) =>
        cached !== undefined &&
        (cached.renewed || ((cached.rights & need) === 0 && !recordNames(qemu.fault, operation, i))),
    )
  },
  'window-by-page': ({ touched }) =>
    touched.some(({ walk, cached }) => coversWindow(pageOf(walk)) || (cached !== undefined && coversWindow(cached))),
  'large-page-covers-the-rest': ({ operation, touched }) =>
    operation.kind === 'dma' &&
    touched.length > (operation.write ? 1 : 2) &&
    touched.some(({ cached, walk }, i) => {
      const next = touched[i + 1]?.cached
      const order = cached?.order ?? pageOf(walk).order
      return order > 0 && next !== undefined && next.order < order
    }),
  'translations-before-contexts': ({ touched, context }) =>
    context?.spared === 'hit' ||
    touched.some(
      ({ cached, walk }) =>
        cached !== undefined && (context === undefined || walk.outcome === -FaultReason.addressBeyondWidth),
    ),
  'translations-by-source': ({ touched, context }) =>
    touched.some(
      ({ cached, foreign }) =>
        foreign !== undefined || (cached !== undefined && context !== undefined && cached.domain !== context.domain),
    ),
  'domain-contexts-are-global': ({ operation, context, ours, qemu }) =>
    context?.spared === 'domain' ||
    (operation.kind === 'contexts' &&
      operation.granularity === Granularity.domain &&
      (ours.result & 3) === Granularity.domain &&
      (qemu.result & 3) === Granularity.global),
  'device-contexts-whatever-domain': ({ context }) => context?.spared === 'device',
  'pass-through-ahead': ({ passing }) => passing,
  'unadvertised-descriptors': ({ operation, ours, qemu }) =>
    operation.kind === 'descriptor' &&
    [3, 4, 6, 7].includes(operation.words[0] & 0xf) &&
    ours.result !== 0 &&
    qemu.result === 0,
  'plain-wait-is-refused': ({ operation, ours, qemu }) =>
    operation.kind === 'descriptor' && (operation.words[0] & 0x3f) === 5 && ours.result === 0 && qemu.result !== 0,
  'eight-bit-page-mask': ({ touched, qemu }) =>
    touched.some(
      ({ cached, walk }) => cached?.aliased === true && (walk.outcome >= 0 || recorded(qemu, -walk.outcome) > 0),
    ),
}

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
