import { resolve } from 'node:path'
import { iommuModels } from '@iospace/iommu/hardware'
import type { Host } from '../cli/host.ts'
import { oneOf, parseOptions, seedOf, type OptionSpecs } from '../cli/options.ts'
import { UsageError } from '../cli/errors.ts'

export const DMA_CHOICES = ['auto', 'xen', 'swiotlb', 'nommu'] as const
export const IOMMU_CHOICES = ['vtd', 'amdvi', 'calgary', 'gart', 'none'] as const

export type DmaChoice = (typeof DMA_CHOICES)[number]
export type IommuChoice = (typeof IOMMU_CHOICES)[number]

export interface StorageOptions {
  /** Absolute; null makes one from the seed. */
  readonly image: string | null
  readonly out: string | null
  readonly trace: string | null
  readonly dma: DmaChoice
  readonly iommu: IommuChoice
  /** Which unit of that kind; null without an IOMMU. */
  readonly personality: string | null
  readonly seed: number
  readonly json: boolean
  readonly quiet: boolean
}

export const STORAGE_OPTIONS = {
  image: { value: 'FILE', help: 'the disk that the guest reads (default: 32 MiB made from the seed)' },
  out: { value: 'FILE2', help: 'the guest writes everything it read to a second disk, which is this file' },
  dma: {
    value: DMA_CHOICES.join('|'),
    help: 'how the driver domain gives memory to its controller (default auto:\nxen where the hypervisor has an I/O space for the device)',
  },
  iommu: { value: IOMMU_CHOICES.join('|'), help: 'what stands between devices and memory (default vtd)' },
  personality: {
    value: 'NAME',
    help: `which unit of that kind:\n${Object.entries(iommuModels)
      .map(([kind, { personalities }]) => `${kind}: ${personalities.join(', ')}`)
      .join('\n')}`,
  },
  seed: { value: 'N', help: 'chooses the order of tasks, latencies and frames (default 1)' },
  json: { help: 'print the report as one JSON object' },
  trace: { value: 'FILE', help: 'write a trace that Perfetto opens' },
  quiet: { help: 'no progress bar' },
} as const satisfies OptionSpecs

export const STORAGE = 'run storage'

/** The options of `run storage`. UsageError for what makes no sense; files are not looked at yet. */
export function storageOptions(host: Host, argv: readonly string[]): StorageOptions {
  const values = parseOptions(STORAGE, STORAGE_OPTIONS, argv)
  const path = (value: string | undefined): string | null => (value === undefined ? null : resolve(host.folder, value))
  const dma = oneOf('--dma', DMA_CHOICES, values.dma ?? 'auto')
  const iommu = oneOf('--iommu', IOMMU_CHOICES, values.iommu ?? 'vtd')
  if (dma === 'xen' && iommu === 'none')
    throw new UsageError('--dma xen needs an IOMMU: it cannot go with --iommu none')
  const personality = personalityOf(iommu, values.personality)
  const { json, quiet } = values
  const seed = values.seed === undefined ? 1 : seedOf('--seed', values.seed)
  return {
    image: path(values.image),
    out: path(values.out),
    trace: path(values.trace),
    dma,
    iommu,
    personality,
    seed,
    json,
    quiet,
  }
}

function personalityOf(iommu: IommuChoice, wanted: string | undefined): string | null {
  const model = iommuModels[iommu]
  if (model === undefined) {
    if (wanted !== undefined) throw new UsageError(`--personality needs an IOMMU: it cannot go with --iommu ${iommu}`)
    return null
  }
  return oneOf('--personality', model.personalities, wanted ?? model.defaultPersonality)
}

/** The command line that does the same again. `command` is how the user calls us. */
export function replayOf(
  command: string,
  { image, out, trace, dma, iommu, personality, seed }: StorageOptions,
): string {
  const words = [command, STORAGE]
  if (image !== null) words.push('--image', quoted(image))
  if (out !== null) words.push('--out', quoted(out))
  if (trace !== null) words.push('--trace', quoted(trace))
  words.push('--dma', dma, '--iommu', iommu)
  if (personality !== null) words.push('--personality', personality)
  words.push('--seed', String(seed))
  return words.join(' ')
}

/** A word for a shell. */
const quoted = (text: string): string =>
  /^[\w./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`
