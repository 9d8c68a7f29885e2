/**
 * The kernel command line in Linux's grammar: words between blanks, `name` or `name=value`, quotes around values with blanks.
 * Words that nothing here knows are kept for programs.
 *
 * `iommu=` is a comma list matched by prefix, unknown words ignored (arch/x86/kernel/pci-dma.c, `iommu_setup`); `xen` is ours, in
 * the manner of the words that select a backend. `swiotlb=` is `[slots][,force|noforce]` (lib/swiotlb.c); there the last word must
 * match exactly.
 */
import { IO_TLB_SEGSIZE } from './dma/swiotlb-constants.ts'

/** What `iommu=` says, by Linux's variables. */
export interface IommuOptions {
  /** `off`: no IOMMU of any kind. */
  readonly off: boolean
  /** `soft`: bounce buffers instead of an IOMMU. */
  readonly soft: boolean
  /** `xen`: I/O spaces through iommu_op; a device that has none gets an error. */
  readonly xen: boolean
  /** `force`: use the IOMMU even for devices that do not need it. */
  readonly force: boolean
  /** Join neighbours of a scatterlist. Any `iommu=` at all switches it on first. */
  readonly merge: boolean
  /** `panic`: crash when no I/O address is left. */
  readonly panic: boolean
  /** `pt`: devices of the kernel itself may bypass translation. */
  readonly passthrough: boolean
  /** `forcesac`, `allowdac`, `nodac`, `usedac`, in this form; null by default. */
  readonly dac: 'forcesac' | 'allowdac' | 'nodac' | 'usedac' | null
  /** `calgary`: that unit even where it is not the default. */
  readonly calgary: boolean
}

/** What `swiotlb=` says. */
export interface SwiotlbOptions {
  /** 2 KiB slots of the pool, a multiple of 128; null for the default. */
  readonly slots: number | null
  readonly force: 'force' | 'noforce' | null
}

export class CommandLine {
  readonly text: string
  /** Every word in order: its name, and its value, null without `=`. */
  readonly words: readonly { readonly name: string; readonly value: string | null }[]
  readonly iommu: IommuOptions
  readonly swiotlb: SwiotlbOptions
  /** False with `iommu.strict=0`: unmapping may leave its invalidation for later (drivers/iommu/iommu.c). True by default. */
  readonly iommuStrict: boolean
  /** `dma_debug=on`; off by default. */
  readonly dmaDebug: boolean

  constructor(text: string) {
    this.text = text
    this.words = [...text.matchAll(/(?:[^\s"]|"[^"]*")+/g)].map(([word]) => {
      const bare = word.replaceAll('"', '')
      const at = bare.indexOf('=')
      return at < 0 ? { name: bare, value: null } : { name: bare.slice(0, at), value: bare.slice(at + 1) }
    })
    this.iommu = parseIommu(this.#values('iommu'))
    this.swiotlb = parseSwiotlb(this.#values('swiotlb'))
    this.iommuStrict = parseStrict(this.get('iommu.strict'))
    this.dmaDebug = this.get('dma_debug') === 'on'
  }

  /** The value of the last word `name`; null for a word without `=`, undefined when it is absent. */
  get(name: string): string | null | undefined {
    return this.words.findLast((word) => word.name === name)?.value
  }

  /** The program to run: `init=`; undefined when none is named. */
  get init(): string | undefined {
    return this.get('init') ?? undefined
  }

  #values(name: string): string[] {
    return this.words.flatMap((word) => (word.name === name && word.value !== null ? [word.value] : []))
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Words of `iommu=` in the order in which they are tried; a word matches when it begins so. */
const IOMMU_WORDS: readonly (readonly [string, (options: Mutable<IommuOptions>) => void])[] = [
  ['off', (o) => (o.off = true)],
  ['force', (o) => (o.force = true)],
  [
    'noforce',
    (o) => {
      o.merge = false
      o.force = false
    },
  ],
  [
    'biomerge',
    (o) => {
      o.merge = true
      o.force = true
    },
  ],
  ['panic', (o) => (o.panic = true)],
  ['nopanic', (o) => (o.panic = false)],
  [
    'merge',
    (o) => {
      o.merge = true
      o.force = true
    },
  ],
  ['nomerge', (o) => (o.merge = false)],
  ['forcesac', (o) => (o.dac = 'forcesac')],
  ['allowdac', (o) => (o.dac = 'allowdac')],
  ['nodac', (o) => (o.dac = 'nodac')],
  ['usedac', (o) => (o.dac = 'usedac')],
  ['soft', (o) => (o.soft = true)],
  ['calgary', (o) => (o.calgary = true)],
  ['pt', (o) => (o.passthrough = true)],
  ['nopt', (o) => (o.passthrough = false)],
  ['xen', (o) => (o.xen = true)],
]

function parseIommu(values: readonly string[]): IommuOptions {
  const options: Mutable<IommuOptions> = {
    off: false,
    soft: false,
    xen: false,
    force: false,
    merge: false,
    panic: false,
    passthrough: false,
    dac: null,
    calgary: false,
  }
  for (const value of values) {
    // An empty value is -EINVAL: nothing is set.
    if (value === '') continue
    options.merge = true
    for (const word of value.split(',')) {
      // Linux tries the table's words in `if` after `if`, so "forcesac" also sets force.
      for (const [prefix, apply] of IOMMU_WORDS) if (word.startsWith(prefix)) apply(options)
      // usedac returns from the parser: what follows is not read.
      if (word.startsWith('usedac')) break
    }
  }
  return options
}

/** Linux's kstrtobool: only the first letters count, and what is no truth value at all changes nothing. */
function parseStrict(value: string | null | undefined): boolean {
  return value === null || value === undefined || !/^(?:[0nN]|[oO][fF])/.test(value)
}

function parseSwiotlb(values: readonly string[]): SwiotlbOptions {
  let slots: number | null = null
  let force: SwiotlbOptions['force'] = null
  for (const value of values) {
    const match = /^(\d*),?(.*)$/s.exec(value)!
    const [, digits = '', rest = ''] = match
    if (digits !== '') slots = Math.ceil(Number(digits) / IO_TLB_SEGSIZE) * IO_TLB_SEGSIZE
    // `<areas>` may stand before the last word; there is one CPU and one area.
    const last = rest.replace(/^\d+,?/, '')
    if (last === 'force' || last === 'noforce') force = last
  }
  return { slots: slots === 0 ? null : slots, force }
}
