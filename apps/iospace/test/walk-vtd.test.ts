/**
 * VT-d through `iospace walk`: every word typed by hand from the facts (A.1 to A.4; F.1 for the published vectors), none made by an
 * encoder of ours.
 */
import { describe, expect, test } from 'vitest'
import { memory, outcome, request, type Request, results, steps } from './walk-file.ts'

/** QEMU's iommu-intel-test.c: 00:01.0, IOVA 0x10200567 (indices 0, 0, 0x81, 0), target 0x10100567. */
const PUBLISHED = {
  '0x10000000': '0x10001001',
  '0x10001080': '0x10010001',
  '0x10001088': '0x2',
  '0x10010000': '0x10011003',
  '0x10011000': '0x10012003',
  '0x10012408': '0x10013003',
  '0x10013000': '0x10100003',
}

interface Options {
  readonly words?: Readonly<Record<string, string>>
  readonly personality?: string
  readonly absent?: readonly (readonly [address: string, length: string])[]
  readonly registers?: Readonly<Record<string, string | number>>
}

const file = ({ words = {}, personality = 'qemu48', absent = [], registers }: Options, ...requests: Request[]) => ({
  iommu: 'vtd',
  personality,
  registers: registers ?? { RTADDR: '0x10000000' },
  memory: memory({ ...PUBLISHED, ...words }),
  absent: absent.map(([address, length]) => ({ address, length })),
  requests,
})

const READ = request('00:01.0', 'read', '0x10200567')
const WRITE = request('00:01.0', 'write', '0x10200567')

/** What a request gives, without steps. */
async function one(options: Options, asked: Request = READ) {
  return outcome((await results(file(options, asked)))[0]!)
}

describe('published vectors (F.1)', () => {
  test('legacy-trans: 0x10200567 is 0x10100567, by six entries', async () => {
    const [read, write] = await results(file({}, READ, WRITE))
    expect(outcome(read!)).toEqual({ machineAddress: '0x10100567', pageSize: 4096, access: 'rw' })
    expect(outcome(write!)).toEqual(outcome(read!))
    expect(steps(read!)).toEqual([
      'root 0x10000000 0x10001001',
      'context 0x10001080 0x20000000010010001',
      'page 4 0x10010000 0x10011003',
      'page 3 0x10011000 0x10012003',
      'page 2 0x10012408 0x10013003',
      'page 1 0x10013000 0x10100003',
    ])
    expect(read!.steps[1]!.bits).toEqual({ P: 1, FPD: 0, TT: 0, SSPTPTR: '0x10010000', AW: 2, DID: 0 })
    expect(read!.steps[5]!.bits).toEqual({ R: 1, W: 1, page: '0x10100000' })
  })

  test('legacy-pt: 0x10200567 stays, nothing is translated, and no page table is read', async () => {
    const [read] = await results(file({ words: { '0x10001080': '0x10010009' } }, READ))
    expect(outcome(read!)).toEqual({ machineAddress: '0x10200567', pageSize: 0, access: 'rw' })
    expect(read!.steps).toHaveLength(2)
  })

  test('what passes keeps all 64 bits: pass-through comes before the width (A.3)', async () => {
    const words = { '0x10001080': '0x9' }
    expect(await one({ words }, request('00:01.0', 'write', '0xFFFFEDCBA9876543', 1))).toEqual({
      machineAddress: '0xffffedcba9876543',
      pageSize: 0,
      access: 'rw',
    })
  })
})

describe('page sizes and levels (A.2)', () => {
  test.each(['qemu48', 'sandybridge-ep', 'qemu39'])('%s: 2 MiB and 1 GiB leaves', async (personality) => {
    // 3 levels by AW code 1 where the unit has them; the top of 4 leads there elsewhere.
    const words = {
      ...(personality === 'qemu39' ? { '0x10001080': '0x10011001', '0x10001088': '0x1' } : {}),
      '0x10012408': '0x12600083',
      '0x10011008': '0x7fc0000081',
    }
    const at = (address: string) => one({ words, personality }, request('00:01.0', 'read', address, 1))
    if (personality === 'qemu39') words['0x10011008'] = '0x7c40000081'
    expect(await at('0x103fffff')).toEqual({ machineAddress: '0x127fffff', pageSize: 0x200000, access: 'rw' })
    expect(await at('0x7fffffff')).toEqual({
      machineAddress: personality === 'qemu39' ? '0x7c7fffffff' : '0x7fffffffff',
      pageSize: 0x40000000,
      access: 'r',
    })
  })

  test('three levels under AW code 1 where SAGAW has 39 bits, and only there', async () => {
    const words = { '0x10001080': '0x10011001', '0x10001088': '0x1' }
    const short = { machineAddress: '0x10100567', pageSize: 4096, access: 'rw' }
    expect(await one({ words })).toEqual(short)
    expect(await one({ words, personality: 'qemu39' })).toEqual(short)
    for (const personality of ['sandybridge-ep', 'nehalem-ep'])
      expect(await one({ words, personality })).toMatchObject({ fault: { code: 3 } })
  })

  test('nehalem-ep has neither large page: their PS bit is reserved', async () => {
    expect(await one({ personality: 'nehalem-ep' })).toMatchObject({ machineAddress: '0x10100567' })
    for (const words of [{ '0x10012408': '0x12600083' }, { '0x10011000': '0x40000083' }])
      expect(await one({ words, personality: 'nehalem-ep' })).toMatchObject({ fault: { code: 12 } })
  })

  test('the machine address is that of the first byte, in lower case and without padding', async () => {
    const words = { '0x10013000': '0xABC000003' }
    const asked = request('00:01.0', 'write', '0X10200FFF', 1)
    expect(await one({ words }, asked)).toEqual({ machineAddress: '0xabc000fff', pageSize: 4096, access: 'rw' })
  })

  test('rights are ANDed from the root down, whatever was asked', async () => {
    const words = { '0x10010000': '0x10011001', '0x10013000': '0x10100003' }
    expect(await one({ words })).toMatchObject({ access: 'r' })
    const [result] = await results(file({ words: { '0x10012408': '0x10013002' } }, WRITE))
    expect(result!.access).toBe('w')
    expect(result!.steps.map(({ access }) => access)).toEqual(['rw', 'rw', 'rw', 'rw', 'w', 'w'])
  })

  test('ignored bits are ignored: 6:2, 10:8, 61:52 and 63, and 7 in a lowest-level entry', async () => {
    expect(await one({ words: { '0x10013000': '0xbff00000101007ff' } })).toMatchObject({ machineAddress: '0x10100567' })
    expect(await one({ words: { '0x10012408': '0xbff000001001377f' } })).toMatchObject({ machineAddress: '0x10100567' })
  })

  test('SNP: of leaves, and only with ECAP.SC', async () => {
    const words = { '0x10013000': '0x10100803' }
    expect(await one({ words, personality: 'sandybridge-ep' })).toMatchObject({ machineAddress: '0x10100567' })
    expect(await one({ words, personality: 'qemu48' })).toMatchObject({ fault: { code: 12 } })
  })
})

/** Each reason, the words that make it, and the request; FPD (bit 1 of the context entry) silences those after the context entry. */
const B = 'silenced by FPD'
describe('fault reasons (A.3), with their records', () => {
  const IOVA = '0x10200000'
  test.each<[what: string, code: number, options: Options, silenced?: string]>([
    ['root entry: P = 0', 1, { words: { '0x10000000': '0x10001000' } }],
    ['root entry: P = 0 with garbage', 1, { words: { '0x10000000': '0xfffffffffffffffe' } }],
    ['context entry: P = 0', 2, { words: { '0x10001080': '0x10010000' } }, B],
    ['context entry: TT = 3', 3, { words: { '0x10001080': '0x1001000d' } }, B],
    ['context entry: TT = 1, no device TLBs', 3, { words: { '0x10001080': '0x10010005' } }, B],
    ['context entry: AW of no width', 3, { words: { '0x10001088': '0x3' } }, B],
    ['top table cannot be read', 3, { absent: [['0x10010000', '0x1000']] }, B],
    ['address above AW', 4, { words: { '0x10001080': '0x10011001', '0x10001088': '0x1', '0x10011200': '0x3' } }, B],
    ['read of W only', 6, { words: { '0x10013000': '0x10100002' } }, B],
    ['read of an absent page with garbage', 6, { words: { '0x10013000': '0xfffffffffffffffc' } }, B],
    ['read, directory not present', 6, { words: { '0x10011000': '0x0' } }, B],
    ['read, right missing on the way', 6, { words: { '0x10011000': '0x10012002' } }, B],
    ['entry below the top cannot be read', 7, { absent: [['0x10013000', '0x8']] }, B],
    ['the same by its last byte', 7, { absent: [['0x10012407', '0x2']] }, B],
    ['root table cannot be read', 8, { absent: [['0x10000000', '0x1']] }],
    ['the same in its upper half', 8, { absent: [['0x1000000f', '0x1']] }],
    ['context table cannot be read', 9, { absent: [['0x10001000', '0x1000']] }],
    ['the same in its upper half', 9, { absent: [['0x10001088', '0x8']] }],
    ['root entry: bit 1', 10, { words: { '0x10000000': '0x10001003' } }],
    ['root entry: bit 11', 10, { words: { '0x10000000': '0x10001801' } }],
    ['root entry: above the host width', 10, { words: { '0x10000000': '0x1000010001001' } }],
    ['root entry: bit 64', 10, { words: { '0x10000008': '0x1' } }],
    ['root entry: bit 127', 10, { words: { '0x10000008': '0x8000000000000000' } }],
    ['context entry: bit 4', 11, { words: { '0x10001080': '0x10010011' } }, B],
    ['context entry: above the host width', 11, { words: { '0x10001080': '0x1000010010001' } }, B],
    ['context entry: bit 71', 11, { words: { '0x10001088': '0x82' } }, B],
    ['context entry: bit 88', 11, { words: { '0x10001088': '0x1000002' } }, B],
    ['context entry: bit 127', 11, { words: { '0x10001088': '0x8000000000000002' } }, B],
    ['leaf: bit 62', 12, { words: { '0x10013000': '0x4000000010100003' } }, B],
    ['leaf: above the host width', 12, { words: { '0x10013000': '0x1000010100003' } }, B],
    ['directory: bit 11', 12, { words: { '0x10012408': '0x10013803' } }, B],
    ['PML4: PS', 12, { words: { '0x10010000': '0x10011083' } }, B],
    ['2 MiB leaf: bit 12', 12, { words: { '0x10012408': '0x12601083' } }, B],
    ['1 GiB leaf: bit 29', 12, { words: { '0x10011000': '0x20000083' } }, B],
    ['the page is in the interrupt window', 14, { words: { '0x10013000': '0xfee01003' } }, B],
    ['the same by a 2 MiB leaf', 14, { words: { '0x10012408': '0xfee00083' } }, B],
  ])('%s: %i', async (what, code, options, silenced) => {
    const asked = code === 4 ? request('00:01.0', 'read', '0x8000000567') : READ
    const address = code === 4 ? '0x8000000000' : IOVA
    const found = await one(options, asked)
    const reason = code.toString(16).padStart(2, '0')
    expect(found).toMatchObject({ fault: { code }, record: { words: [address, `0xc00000${reason}00000008`] } })
    expect(Object.keys(found)).toEqual(['fault', 'record'])

    const words = { ...PUBLISHED, ...options.words }
    const context = `0x${(BigInt(words['0x10001080']) | 2n).toString(16)}`
    const quiet = await one({ ...options, words: { ...options.words, '0x10001080': context } }, asked)
    expect(quiet).toEqual({ ...found, record: silenced === undefined ? found.record : null })
  })

  test('5, and T = 0: writes', async () => {
    for (const leaf of ['0x10100001', '0x0', '0x10100000']) {
      const found = await one({ words: { '0x10013000': leaf } }, WRITE)
      expect(found).toMatchObject({ fault: { code: 5 }, record: { words: [IOVA, '0x8000000500000008'] } })
    }
  })

  test('4: above MGAW, which the address keeps in the record', async () => {
    const found = await one({ personality: 'qemu39' }, request('00:01.0', 'write', '0xFEDCBA9876543210'))
    // Three levels only: AW code 2 comes first.
    expect(found).toMatchObject({ fault: { code: 3 } })
    const words = { '0x10001080': '0x10011001', '0x10001088': '0x1' }
    expect(
      await one({ personality: 'qemu39', words }, request('00:01.0', 'write', '0xFEDCBA9876543210')),
    ).toMatchObject({
      fault: { code: 4 },
      record: { words: ['0xfedcba9876543000', '0x8000000400000008'] },
    })
    expect(await one({}, request('00:01.0', 'write', '0x1000000000000', 1))).toMatchObject({ fault: { code: 4 } })
  })

  test('the host width is the personality’s', async () => {
    const reach = async (personality: string, leaf: string) => {
      const { fault } = await one({ personality, words: { '0x10013000': leaf } })
      return fault?.code ?? 0
    }
    expect([await reach('nehalem-ep', '0x8000000003'), await reach('nehalem-ep', '0x10000000003')]).toEqual([0, 12])
    expect([await reach('sandybridge-ep', '0x200000000003'), await reach('sandybridge-ep', '0x400000000003')]).toEqual([
      0, 12,
    ])
    expect([await reach('qemu48', '0x800000000003'), await reach('qemu48', '0x1000000000003')]).toEqual([0, 12])
    const words = { '0x10001080': '0x10011001', '0x10001088': '0x1' }
    expect(await one({ personality: 'qemu39', words: { ...words, '0x10013000': '0x4000000003' } })).toHaveProperty(
      'pageSize',
    )
    expect(await one({ personality: 'qemu39', words: { ...words, '0x10013000': '0x8000000003' } })).toMatchObject({
      fault: { code: 12 },
    })
  })

  test('domain ids beyond the unit’s are reserved bits: 8 of them on silicon of the period, 16 in QEMU', async () => {
    const words = { '0x10001088': '0x10002' }
    expect(await one({ words })).toHaveProperty('machineAddress')
    expect(await one({ words, personality: 'sandybridge-ep' })).toMatchObject({ fault: { code: 11 } })
  })

  test('steps end with the entry that made the fault; one that could not be read is none', async () => {
    const [blocked, unreadable] = [
      await results(file({ words: { '0x10011000': '0x0' } }, READ)),
      await results(file({ absent: [['0x10011000', '0x1000']] }, READ)),
    ]
    expect(steps(blocked[0]!).at(-1)).toBe('page 3 0x10011000 0x0')
    expect(steps(unreadable[0]!).at(-1)).toBe('page 4 0x10010000 0x10011003')
    expect(unreadable[0]!.fault!.name).toContain('0x10011000')
  })
})

describe('what is special', () => {
  test('the interrupt window is not translated, whoever asks for what', async () => {
    const asked = [
      request('00:01.0', 'write', '0xfee00000'),
      request('00:01.0', 'read', '0xFEEFFFFF', 1),
      request('ff:1f.7', 'write', '0xfee01234', 100),
      request('00:01.0', 'read', '0xfee00008', 0),
    ]
    expect(await results(file({}, ...asked))).toEqual(asked.map(() => ({ interrupt: true, steps: [] })))
    const [below, above] = await results(
      file({}, request('00:01.0', 'read', '0xfedfffff', 1), request('00:01.0', 'read', '0xfef00000', 1)),
    )
    expect([below!.interrupt, above!.interrupt]).toEqual([undefined, undefined])
    const [high] = await results(file({}, request('00:01.0', 'write', '0x1fee00000')))
    expect(high).toHaveProperty('fault')
  })

  test('a read of no bytes is content with a right to write where CAP.ZLR is set (A.2)', async () => {
    const words = { '0x10013000': '0x10100002' }
    const asked = request('00:01.0', 'read', '0x10200567', 0)
    const passed = { machineAddress: '0x10100567', pageSize: 4096, access: 'w' }
    expect(await one({ words, personality: 'sandybridge-ep' }, asked)).toEqual(passed)
    expect(await one({ words, personality: 'nehalem-ep' }, asked)).toEqual(passed)
    // QEMU's CAP has bit 22 clear.
    expect(await one({ words, personality: 'qemu48' }, asked)).toMatchObject({
      fault: { code: 6 },
      record: { words: ['0x10200000', '0xc000000600000008'] },
    })
    const nothing = { words: { '0x10013000': '0x10100000' }, personality: 'sandybridge-ep' }
    expect(await one(nothing, asked)).toMatchObject({ fault: { code: 6 } })
  })

  test('memory that is not listed reads as zero, and RTADDR resets to 0', async () => {
    expect(await one({ registers: {} })).toMatchObject({ fault: { code: 1 } })
    expect(await one({ registers: { RTADDR: 0x20000000 } })).toMatchObject({ fault: { code: 1 } })
    expect(await one({ words: { '0x0': '0x10001001' }, registers: {} })).toHaveProperty('machineAddress')
  })

  test('RTADDR: 63:12 alone are the address, and a decimal integer keeps every digit', async () => {
    expect(await one({ registers: { RTADDR: '0x10000fff' } })).toHaveProperty('machineAddress')
    expect(await one({ registers: { RTADDR: 0x10000000 } })).toHaveProperty('machineAddress')
  })

  test('what answers at the machine address does not matter: it is no table', async () => {
    expect(await one({ absent: [['0x10100000', '0x1000']] })).toHaveProperty('machineAddress')
  })

  test('the requester picks the entries: bus by bus, function by function', async () => {
    const words = { '0x10000ff0': '0x1', '0xff0': '0xfffffffffffff006', '0xff8': '0x2' }
    const [result] = await results(file({ words }, request('ff:1f.7', 'read', '0x10200567')))
    expect(outcome(result!)).toMatchObject({ fault: { code: 2 }, record: null })
    expect(steps(result!)).toEqual(['root 0x10000ff0 0x1', 'context 0xff0 0x2fffffffffffff006'])
  })

  test('five levels, where a unit has them', async () => {
    // Index 1 of level 5, then the published ones.
    const words = { '0x10001080': '0x10014001', '0x10001088': '0x3', '0x10014008': '0x10010003' }
    const asked = request('00:01.0', 'read', '0x1000010200567')
    const [result] = await results(file({ words, personality: 'sapphirerapids-sp' }, asked))
    expect(outcome(result!)).toEqual({ machineAddress: '0x10100567', pageSize: 4096, access: 'rw' })
    expect(steps(result!)[2]).toBe('page 5 0x10014008 0x10010003')
  })

  test('each request is judged alone: the same one twice gives the same twice', async () => {
    const asked = [WRITE, READ, WRITE, READ]
    const found = await results(file({ words: { '0x10013000': '0x10100001' } }, ...asked))
    expect(found[2]).toEqual(found[0])
    expect(found[3]).toEqual(found[1])
    expect(found[0]).toHaveProperty('fault')
  })
})
