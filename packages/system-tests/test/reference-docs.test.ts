/**
 * The reference pages of the IOMMUs say what the code does: personalities and their registers, settings, reset values, fault codes,
 * capabilities, absent features, rules and QEMU's deviations. A page that misses something of these, or names something else, fails here.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { IommuCapabilities, IommuDriver } from '@iospace/iommu/driver'
import {
  AMDVI_BASE,
  amdviPersonalities,
  type AmdviPersonality,
  CalgaryHardware,
  calgaryPersonalities,
  type CalgaryPersonality,
  GartHardware,
  gartPersonalities,
  type GartPersonality,
  iommuModels,
  VTD_BASE,
  vtdPersonalities,
  type VtdPersonality,
} from '@iospace/iommu/hardware'
import { amdvi, calgary, gart, vtd } from '@iospace/iommu/spec'
import { Machine } from '@iospace/machine'
import { VERBS } from 'iospace'
import { describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../../..')
const MODELS = ['vtd', 'amdvi', 'calgary', 'gart'] as const
type Model = (typeof MODELS)[number]

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8')
const page = (name: Model | 'README'): string => read(`docs/reference/iommu/${name}.md`)

interface Table {
  readonly heading: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** The tables of a page, each with the heading that it stands under; cells without backquotes. */
function tablesOf(text: string): Table[] {
  const found: Table[] = []
  let heading = ''
  let rows: string[][] = []
  const end = (): void => {
    if (rows.length > 0) found.push({ heading, head: rows[0]!, rows: rows.slice(2) })
    rows = []
  }
  for (const line of text.split('\n')) {
    if (line.startsWith('|')) {
      const cells = line.slice(1, line.lastIndexOf('|')).split('|')
      rows.push(cells.map((cell) => cell.replaceAll('`', '').trim()))
      continue
    }
    end()
    if (line.startsWith('#')) heading = line.replace(/^#+ /, '')
  }
  end()
  return found
}

/** The table under `heading` whose first column is called `first`. */
function tableOf(text: string, heading: string, first: string): Table {
  const table = tablesOf(text).find((one) => one.heading === heading && one.head[0] === first)
  if (table === undefined) throw new Error(`no table of ${first} under ${heading}`)
  return table
}

const columnsOf = ({ rows }: Table, ...columns: number[]): string[][] =>
  rows.map((row) => columns.map((column) => row[column]!))

const hex = (value: number, digits = 1): string => `0x${value.toString(16).toUpperCase().padStart(digits, '0')}`
const hex64 = (high: number, low: number): string =>
  `0x${[high, low].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('')}`.replaceAll(/[a-f]/g, (digit) =>
    digit.toUpperCase(),
  )
const yes = (value: boolean): string => (value ? 'yes' : 'no')
const sizes = (bits: number): string =>
  [[12, '4K'] as const, [21, '2M'] as const, [30, '1G'] as const]
    .filter(([bit]) => (bits & (1 << bit)) !== 0)
    .map(([, name]) => name)
    .join(', ')

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const machineOf = (): Machine =>
  new Machine({ memory: { lowFrames: 8192, highFrames: 0, boardBytes: 65536 }, seed: 1, turn })

function driverOf(model: Model): IommuDriver {
  const machine = machineOf()
  iommuModels[model]!.install(machine)
  return iommuModels[model]!.driver(machine, { allocatePage: () => -1, freePage: () => {} })
}

/** What a row of a page's table of personalities says of each one, by the row's name. */
type Rows<P> = Readonly<Record<string, (personality: P) => string>>

const VTD_ROWS: Rows<VtdPersonality> = {
  VER: ({ version }) => hex(version),
  CAP: ({ capHigh, capLow }) => hex64(capHigh, capLow),
  ECAP: ({ ecapHigh, ecapLow }) => hex64(ecapHigh, ecapLow),
  'host address width': ({ hostAddressBits }) => String(hostAddressBits),
  MGAW: ({ capabilities }) => String(capabilities.addressBits),
  'levels (SAGAW)': ({ capabilities }) =>
    vtd
      .tableWidths(capabilities)
      .map((width) => (width - 12) / 9)
      .join(', '),
  'page sizes (SLLPS)': ({ capabilities: { pages2M, pages1G } }) =>
    sizes((1 << 12) | (pages2M ? 1 << 21 : 0) | (pages1G ? 1 << 30 : 0)),
  'domain ids (ND)': ({ capabilities }) => String(2 ** capabilities.domainBits),
  'fault records (NFR)': ({ capabilities }) => String(capabilities.faultRecords),
  'first record (FRO)': ({ capabilities }) => hex(capabilities.faultRecordOffset),
  'IVA (IRO)': ({ capabilities }) => hex(capabilities.iotlbOffset),
  MAMV: ({ capabilities }) => String(capabilities.maxOrder),
  PSI: ({ capabilities }) => yes(capabilities.pageInvalidation),
  ZLR: ({ capabilities }) => yes(capabilities.zeroLengthRead),
  'coherent walks (C)': ({ capabilities }) => yes(capabilities.coherent),
  'queue (QI)': ({ capabilities }) => yes(capabilities.queue),
  'register invalidation': ({ version }) => yes(version >>> 4 < vtd.QUEUE_ONLY_VERSION),
  'pass-through (PT)': ({ capabilities }) => yes(capabilities.passThrough),
  'snoop control (SC)': ({ capabilities }) => yes(capabilities.snoopControl),
  'interrupt remapping': ({ capabilities }) => yes(capabilities.interruptRemapping),
  EIM: ({ capabilities }) => yes(capabilities.extendedInterrupts),
  MHMV: ({ capabilities }) => String(capabilities.maxIndexOrder),
  'caching mode (CM)': ({ capabilities }) => yes(capabilities.cachingMode),
  'write buffer (RWBF)': ({ capabilities }) => yes(capabilities.writeBufferFlush),
}

const AMDVI_ROWS: Rows<AmdviPersonality> = {
  EFR: ({ featuresHigh, featuresLow }) => hex64(featuresHigh, featuresLow),
  'EFR2, low half': ({ features2 }) => hex(features2, 8),
  'levels (HATS)': ({ features }) => String(features.levels),
  PAsize: ({ physicalBits }) => String(physicalBits),
  VAsize: ({ virtualBits }) => String(virtualBits),
  NpCache: ({ npCache }) => yes(npCache),
  'absent entries are cached': ({ cachesAbsent }) => yes(cachesAbsent),
  'PREFETCH (PreFSup)': ({ features }) => yes(features.prefetch),
  'INVALIDATE_IOMMU_ALL (IASup)': ({ features }) => yes(features.invalidateAll),
  '128-bit IRTEs (GASup)': ({ features }) => yes(features.guestApic),
  'MSI by MMIO (MsiCapMmioSup)': ({ features }) => yes(features.messageRegisters),
  'accessed bits (HASup)': ({ features }) => yes(features.hostAccessed),
  'dirty bits (HDSup)': ({ features }) => yes(features.hostDirty),
  '2048 interrupts': ({ features }) => yes(features.interrupts2K),
}

const CALGARY_ROWS: Rows<CalgaryPersonality> = {
  'PCI device id': ({ deviceId }) => hex(deviceId, 4),
  'untranslated below 1 MiB': ({ legacyFirst }) => `from ${legacyFirst / 1024} KiB on`,
  'the bus is stopped by': ({ migration }) => (migration ? 'PMCR' : 'AER'),
  'TAR bit 3 is looked at': ({ needsValid }) => yes(needsValid),
}

const REPLACEMENT = { lru: 'least recently used', fifo: 'first in', random: 'any' } as const

const GART_ROWS: Rows<GartPersonality> = {
  'PCI device id': ({ deviceId }) => hex(deviceId),
  'erratum 156': ({ erratum156 }) => yes(erratum156),
  'TLB, sets × ways': ({ tlb }) => `${tlb.sets} × ${tlb.ways}`,
  'who leaves': ({ tlb }) => REPLACEMENT[tlb.replacement ?? 'lru'],
}

const PERSONALITIES = {
  vtd: { all: vtdPersonalities, rows: VTD_ROWS },
  amdvi: { all: amdviPersonalities, rows: AMDVI_ROWS },
  calgary: { all: calgaryPersonalities, rows: CALGARY_ROWS },
  gart: { all: gartPersonalities, rows: GART_ROWS },
} as const

type Shape = { readonly sets: number; readonly ways: number }
const isShape = (value: object): value is Shape => 'sets' in value

/** Caches and latencies of a personality, by the names that its code has. */
function settingsOf(personality: object, inRows: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {}
  for (const [name, value] of Object.entries(personality) as [string, unknown][]) {
    if (typeof value !== 'object' || value === null || inRows.includes(name)) continue
    if (isShape(value)) found[name] = `${value.sets} × ${value.ways}`
    if (name === 'timing')
      for (const [what, ns] of Object.entries(value as Record<string, number>)) found[`timing.${what}`] = String(ns)
  }
  return found
}

describe.each(MODELS)('docs/reference/iommu/%s.md', (model) => {
  const text = page(model)
  const table = tableOf(text, 'Personalities', 'parameter')
  const { all, rows } = PERSONALITIES[model] as { all: Record<string, object>; rows: Rows<object> }

  test('names every personality and no other', () => {
    expect(table.head.slice(1)).toEqual(iommuModels[model]!.personalities)
    const isDefault = table.head.slice(1).map((name) => yes(name === iommuModels[model]!.defaultPersonality))
    expect(table.rows[0]).toEqual(['default', ...isDefault])
  })

  test('tells each one’s registers and parameters', () => {
    const expected = Object.entries(rows).map(([name, tell]) => [
      name,
      ...table.head.slice(1).map((one) => tell(all[one]!)),
    ])
    expect(table.rows.slice(1)).toEqual(expected)
  })

  test('tells cache shapes and latencies, which all personalities share', () => {
    const told = Object.fromEntries(columnsOf(tableOf(text, 'Personalities', 'setting'), 0, 1))
    for (const personality of Object.values(all))
      expect(told).toEqual(settingsOf(personality, model === 'gart' ? ['tlb'] : []))
  })

  test('cites rules that exist, of every part of the data file', () => {
    const ids = (JSON.parse(read(`packages/iommu/rules/${model}.json`)) as { id: string }[]).map(({ id }) => id)
    const cited = citedIn(text)
    expect(cited.filter((id) => !ids.includes(id))).toEqual([])
    const parts = (list: readonly string[]): string[] => [...new Set(list.map((id) => id.split('.')[1]!))].toSorted()
    // Registers and personalities have tables of their own, ids of two parts are rules and no group.
    const groups = parts(ids.filter((id) => id.split('.').length > 2))
    expect(groups.filter((part) => !parts(cited).includes(part))).toEqual([])
  })
})

/** Rule ids in backquotes. */
function citedIn(text: string): string[] {
  const found = [...text.matchAll(/`((?:vtd|amdvi|calgary|gart)\.[a-z0-9.-]+)`/g)].map(([, id]) => id!)
  return found.filter((id) => !/\.(?:json|md|ts)$/.test(id))
}

/** Registers by offset as a page has them: hexadecimal numbers of the first column. */
function offsetsOf(text: string): number[] {
  const tables = tablesOf(text).filter(({ heading }) => heading === 'Registers')
  return tables
    .flatMap(({ rows }) => rows.flatMap(([cell]) => [...cell!.matchAll(/(?:0x|F3x)([0-9A-F]+)/g)]))
    .map(([, digits]) => Number.parseInt(digits!, 16))
    .toSorted((a, b) => a - b)
}

const ascending = (list: readonly number[]): number[] => [...list].toSorted((a, b) => a - b)

/** Offset, width and reset value of registers whose row tells one. */
function resetsOf(text: string): [offset: number, wide: boolean, reset: bigint][] {
  const tables = tablesOf(text).filter(({ heading }) => heading === 'Registers')
  return tables.flatMap(({ head, rows }) =>
    rows.flatMap((row) => {
      const reset = row[head.indexOf('reset')]!
      if (!reset.startsWith('0x')) return []
      const offset = Number.parseInt(/(?:0x|F3x)([0-9A-F]+)/.exec(row[0]!)![1]!, 16)
      return [[offset, !row[head.indexOf('access')]!.includes('32'), BigInt(reset)] as [number, boolean, bigint]]
    }),
  )
}

const at32 = (readWord: (offset: number) => number, offset: number): bigint => BigInt(readWord(offset) >>> 0)
const at64 = (readWord: (offset: number) => number, offset: number): bigint =>
  at32(readWord, offset) | (at32(readWord, offset + 4) << 32n)

describe('VT-d’s page', () => {
  const text = page('vtd')

  test('lists every register of the facts, with its value after reset', () => {
    expect(offsetsOf(text)).toEqual(ascending(Object.values(vtd.Register)))
    const machine = machineOf()
    iommuModels.vtd!.install(machine)
    const word = (offset: number): number => machine.mmio.read32(VTD_BASE + offset)
    const told = tableOf(text, 'Registers', 'offset')
    for (const [offset, , reset] of resetsOf(text)) {
      const access = told.rows.find(([cell]) => Number(cell) === offset)![2]!
      expect([offset, access.endsWith('64') ? at64(word, offset) : at32(word, offset)]).toEqual([offset, reset])
    }
    const byPersonality = told.rows.filter(([, , , reset]) => !reset!.startsWith('0x')).map(([, name]) => name)
    expect(byPersonality).toEqual(['CAP', 'ECAP'])
  })

  test('lists every fault reason with its meaning, and whether FPD holds it back', () => {
    const reasons = [...Object.values(vtd.FaultReason), ...Object.values(vtd.InterruptReason)]
    const told = columnsOf(tableOf(text, 'Fault reasons', 'reason'), 0, 1)
    expect(told).toEqual(reasons.map((reason) => [hex(reason), vtd.faultReasonText(reason)]))
    for (const [reason, , fpd] of tableOf(text, 'Fault reasons', 'reason').rows)
      if (Number(reason) < 0x20)
        expect([reason, fpd]).toEqual([reason, yes(((vtd.QUALIFIED_REASONS >>> Number(reason)) & 1) !== 0)])
  })

  test('lists every descriptor and every cause of IQE', () => {
    const types = columnsOf(tableOf(text, 'Invalidation', 'type'), 0).map(([type]) => Number(type))
    expect(types).toEqual(ascending(Object.values(vtd.DescriptorType)))
    const causes = columnsOf(tableOf(text, 'Invalidation', 'IQEI'), 0).map(([cause]) => Number(cause))
    expect(causes).toEqual(ascending(Object.values(vtd.QueueError)))
  })

  test('tells features as absent whose bits are clear in every personality', () => {
    for (const personality of Object.values(vtdPersonalities as Record<string, VtdPersonality>)) {
      const { capHigh, capLow, ecapHigh, ecapLow } = personality
      expect(setBits(text, { CAP: [capHigh, capLow], ECAP: [ecapHigh, ecapLow] })).toEqual([])
    }
  })
})

describe('AMD-Vi’s page', () => {
  const text = page('amdvi')

  test('lists every register of the facts, with its value after reset', () => {
    expect(offsetsOf(text)).toEqual(ascending(Object.values(amdvi.Register)))
    const machine = machineOf()
    iommuModels.amdvi!.install(machine)
    const word = (offset: number): number => machine.mmio.read32(AMDVI_BASE + offset)
    const resets = resetsOf(text)
    expect(resets).toHaveLength(Object.values(amdvi.Register).length)
    for (const [offset, wide, reset] of resets)
      expect([offset, (wide ? at64 : at32)(word, offset)]).toEqual([offset, reset])
  })

  test('lists every fault with its event and flags', () => {
    const faults = Object.values(amdvi.Fault)
    expect(tableOf(text, 'Events', 'fault').rows).toEqual(
      faults.map((fault) => {
        const event = new Int32Array(4)
        amdvi.encodeEvent(event, 0, fault, 0, 0, 0, 0, 0, 0, 0, 0)
        const flags = (event[1]! >>> 16) & 0xfff
        return [amdvi.faultText(fault), amdvi.eventName(amdvi.eventCode(fault)), hex(flags, 3)]
      }),
    )
  })

  test('lists every event code, and which can occur', () => {
    const { illegalCommand, commandError } = amdvi.EventCode
    const occurring = [
      ...Object.values(amdvi.Fault).map((fault) => amdvi.eventCode(fault)),
      illegalCommand,
      commandError,
    ]
    expect(columnsOf(tableOf(text, 'Events', 'code'), 0, 1, 2)).toEqual(
      Object.values(amdvi.EventCode).map((code) => [hex(code), amdvi.eventName(code), yes(occurring.includes(code))]),
    )
  })

  test('lists every command', () => {
    const opcodes = columnsOf(tableOf(text, 'Commands', 'opcode'), 0).map(([opcode]) => Number(opcode))
    expect(opcodes).toEqual(Object.values(amdvi.Opcode))
  })

  test('tells features as absent whose bits are clear in every personality', () => {
    for (const { featuresHigh, featuresLow } of Object.values(amdviPersonalities as Record<string, AmdviPersonality>))
      expect(setBits(text, { EFR: [featuresHigh, featuresLow] })).toEqual([])
  })
})

/** Bits that a page tells are clear (`CAP 3`, `EFR 13:12`) and are not in these registers; the page names some. */
function setBits(text: string, registers: Readonly<Record<string, readonly [high: number, low: number]>>): string[] {
  const { head, rows } = tableOf(text, 'Absent', 'feature')
  const column = head.indexOf('bits that are clear')
  const named = rows.flatMap((row) => [...row[column]!.matchAll(/(\w+) (\d+)(?::(\d+))?/g)])
  expect(named.length).toBeGreaterThan(5)
  return named
    .filter(([, register, last, first = last]) => {
      const [high, low] = registers[register!]!
      const value = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
      const width = BigInt(Number(last) - Number(first) + 1)
      return ((value >> BigInt(first!)) & ((1n << width) - 1n)) !== 0n
    })
    .map(([bits]) => bits)
}

describe('Calgary’s page', () => {
  const text = page('calgary')
  const { Register, BridgeRegister, CalIoc2Register, DebugRegister } = calgary

  test('lists every register of the facts', () => {
    const offsets = [...Object.values(Register), ...Object.values(BridgeRegister)].flat() as number[]
    expect(offsetsOf(text)).toEqual(
      ascending([...offsets, ...Object.values(CalIoc2Register), ...Object.values(DebugRegister)]),
    )
  })

  test('tells their values after reset', () => {
    const chip = new CalgaryHardware(machineOf(), calgaryPersonalities.calioc2)
    const swapped = new DataView(new ArrayBuffer(4))
    const word = (offset: number): number => {
      swapped.setUint32(0, chip.read32(offset) >>> 0, true)
      return swapped.getUint32(0)
    }
    const bases = [0, Register.bridge[0]!, Register.bridge[0]!, Register.debug[0]!]
    const tables = tablesOf(text).filter(({ heading }) => heading === 'Registers')
    expect(tables).toHaveLength(bases.length)
    let compared = 0
    for (const [i, { rows }] of tables.entries())
      for (const [offsets, , access, reset] of rows) {
        if (!reset!.startsWith('0x')) continue
        const offset = bases[i]! + Number.parseInt(/0x([0-9A-F]+)/.exec(offsets!)![1]!, 16)
        // Big-endian: of 64 bits the upper half comes first.
        const value = access!.includes('64') ? word(offset) * 2 ** 32 + word(offset + 4) : word(offset)
        expect([offset, value]).toEqual([offset, Number(reset)])
        compared++
      }
    expect(compared).toBeGreaterThan(15)
  })

  test('lists every fault', () => {
    expect(columnsOf(tableOf(text, 'Faults', 'fault'), 0).flat()).toEqual(calgary.FAULT_NAMES.slice(1))
    expect(calgary.FAULT_NAMES).toHaveLength(Object.values(calgary.Fault).length + 1)
  })
})

describe('the GART’s page', () => {
  const text = page('gart')

  test('lists every register of the facts, with its value after power-on', () => {
    expect(offsetsOf(text)).toEqual(ascending(Object.values(gart.Register)))
    const [node] = new GartHardware(machineOf(), gartPersonalities.k8).nodes
    const resets = resetsOf(text)
    expect(resets).toHaveLength(Object.values(gart.Register).length)
    for (const [offset, , reset] of resets)
      expect([offset, BigInt(node!.config.read(offset, 4))]).toEqual([offset, reset])
  })

  test('lists every fault', () => {
    expect(columnsOf(tableOf(text, 'Faults', 'fault'), 0).flat()).toEqual(Object.values(gart.faultNames))
    expect(Object.values(gart.faultNames)).toHaveLength(Object.values(gart.Fault).length)
  })
})

/** A range of addresses as the page has it. */
const rangeOf = ([first, end]: readonly [number, number]): string =>
  first === 0 ? `0–2^${Math.log2(end)}` : `${hex(first)}–${hex(end)}`

/** How the page tells a capability. */
function told(capabilities: IommuCapabilities, name: string): string {
  if (name === 'pageSizes') return sizes(capabilities.pageSizes)
  if (name === 'tableWidths') return capabilities.tableWidths.join(', ')
  if (name === 'window') return rangeOf([capabilities.window.first, capabilities.window.end])
  if (name === 'untranslated') return capabilities.untranslated.map((range) => rangeOf(range)).join(', ') || 'none'
  const value = capabilities[name as 'granularity' | 'coherent' | 'tables']
  return typeof value === 'boolean' ? yes(value) : String(value)
}

type Version = readonly [number, number, number]

interface Deviation {
  readonly id: string
  /** Which have it: from one of a pair on, below the other. */
  readonly versions?: readonly (readonly [from: Version, until: Version])[]
}

function versionsText(versions: Deviation['versions']): string {
  if (versions === undefined) return 'all'
  return versions
    .map(([from, until]) => {
      const end = `before ${until.join('.')}`
      return from.every((part) => part === 0) ? end : `${from.join('.')} to ${end}`
    })
    .join(', ')
}

describe('docs/reference/iommu/README.md', () => {
  const text = page('README')
  const models = tableOf(text, 'The IOMMUs', 'model')

  test('lists every model with its personalities, the default first', () => {
    expect(columnsOf(models, 0).flat()).toEqual(Object.keys(iommuModels))
    for (const [name, , personalities] of models.rows) {
      const { defaultPersonality, personalities: all } = iommuModels[name!]!
      expect(personalities!.split(', ')).toEqual([
        defaultPersonality,
        ...all.filter((one) => one !== defaultPersonality),
      ])
    }
  })

  test('tells what each driver says of its unit', () => {
    const table = tableOf(text, 'What the drivers say of them', 'capability')
    expect(table.head.slice(1)).toEqual(MODELS)
    const capabilities = MODELS.map((model) => driverOf(model).capabilities)
    const names = Object.keys(capabilities[0]!).filter((name) => name !== 'kind')
    expect(table.rows).toEqual(names.map((name) => [name, ...capabilities.map((one) => told(one, name))]))
  })

  test.each(['vtd', 'amdvi'] as const)('lists every deviation of QEMU’s %s and no other', (model) => {
    const file = `packages/qemu/test/differential/${model}/deviations.json`
    const known = JSON.parse(read(file)) as Deviation[]
    const table = tablesOf(text).filter(({ head }) => head[0] === 'id')[model === 'vtd' ? 0 : 1]!
    expect(columnsOf(table, 0, 2)).toEqual(known.map(({ id, versions }) => [id, versionsText(versions)]))
  })

  test('cites rules that exist', () => {
    for (const id of citedIn(text)) {
      const rules = JSON.parse(read(`packages/iommu/rules/${id.split('.')[0]}.json`)) as { id: string }[]
      expect(rules.map((rule) => rule.id)).toContain(id)
    }
  })
})

describe('README.md', () => {
  const table = tablesOf(read('README.md')).find(({ head }) => head[0] === '--iommu')!

  test('lists the choices of --iommu, and what the default unit of each protects', () => {
    const option = VERBS.find(({ name }) => name === 'run storage')!.options.iommu!
    expect(columnsOf(table, 0).flat()).toEqual(option.value!.split('|'))
    for (const [choice, apart, interrupts, faults] of table.rows) {
      if (choice === 'none') continue
      const { granularity, interruptIsolation, faultRecords } = driverOf(choice as Model).capabilities
      const expected = { function: 'each function', bus: 'each bus', none: 'nothing' }[granularity]
      expect([choice, apart, interrupts]).toEqual([choice, expected, yes(interruptIsolation)])
      expect([choice, faults !== 'nothing']).toEqual([choice, faultRecords])
    }
  })
})
