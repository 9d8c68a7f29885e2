/** AMD-Vi through `iospace walk`: every word typed by hand from the facts (B.3, B.4, B.6; F.3), none made by an encoder of ours. */
import { describe, expect, test } from 'vitest'
import { memory, outcome, request, type Request, results, steps } from './walk-file.ts'

/**
 * 00:02.0 in domain 0x1234 with four levels at 0x2000000, whose entries grant all; IOVA 0x10200567 (indices 0, 0, 0x81, 0) is
 * 0x2100567.
 */
const ORDINARY = {
  '0x1000200': '0x6000000002000803',
  '0x1000208': '0x1234',
  '0x2000000': '0x6000000002001601',
  '0x2001000': '0x6000000002002401',
  '0x2002408': '0x6000000002003201',
  '0x2003000': '0x6000000002100001',
}

interface Options {
  readonly words?: Readonly<Record<string, string>>
  readonly personality?: string
  readonly absent?: readonly (readonly [address: string, length: string])[]
  readonly table?: string
}

const file = (
  { words = {}, personality = 'hats6', absent = [], table = '0x1000000' }: Options,
  ...requests: Request[]
) => ({
  iommu: 'amdvi',
  personality,
  registers: { DevTabBase: table },
  memory: memory({ ...ORDINARY, ...words }),
  absent: absent.map(([address, length]) => ({ address, length })),
  requests,
})

const READ = request('00:02.0', 'read', '0x10200567')
const WRITE = request('00:02.0', 'write', '0x10200567')
const read = (address: string, length = 1) => request('00:02.0', 'read', address, length)

async function one(options: Options, asked: Request = READ) {
  return outcome((await results(file(options, asked)))[0]!)
}

describe('translations (B.3, B.4)', () => {
  test('four levels, by five entries', async () => {
    const [result] = await results(file({}, WRITE))
    expect(outcome(result!)).toEqual({ machineAddress: '0x2100567', pageSize: 4096, access: 'rw' })
    expect(steps(result!)).toEqual([
      'device 0x1000200 0x12346000000002000803',
      'page 4 0x2000000 0x6000000002001601',
      'page 3 0x2001000 0x6000000002002401',
      'page 2 0x2002408 0x6000000002003201',
      'page 1 0x2003000 0x6000000002100001',
    ])
    expect(result!.steps[0]!.bits).toEqual({
      V: 1,
      TV: 1,
      Mode: 4,
      table: '0x2000000',
      IR: 1,
      IW: 1,
      DomainID: 0x1234,
    })
    expect(result!.steps[4]!.bits).toEqual({ PR: 1, NextLevel: 0, page: '0x2100000', IR: 1, IW: 1 })
  })

  test('VA 0xFEF80000 to OA 0x208B95D000, 0x20000 bytes, three levels (F.3)', async () => {
    const words = {
      '0x1000200': '0x6000000002000603',
      '0x2000018': '0x6000000002001401',
      '0x2001fb8': '0x6000000002002201',
      '0x2002c00': '0x600000208b95d001',
      '0x2002cf8': '0x600000208b97c001',
    }
    for (const personality of ['qemu', 'hats4', 'hats5', 'hats6']) {
      expect(await one({ words, personality }, read('0xFEF80000'))).toEqual({
        machineAddress: '0x208b95d000',
        pageSize: 4096,
        access: 'rw',
      })
      expect(await one({ words, personality }, read('0xFEF9FFFF'))).toHaveProperty('machineAddress', '0x208b97cfff')
      expect(await one({ words, personality }, read('0xFEFA0000'))).toHaveProperty('fault.code', 2)
    }
  })

  test.each<[what: string, words: Record<string, string>, asked: Request, address: string, size: number]>([
    ['2 MiB at level 2', { '0x2002408': '0x6000000002200001' }, READ, '0x2200567', 0x200000],
    ['1 GiB at level 3', { '0x2001000': '0x6000000040000001' }, READ, '0x50200567', 0x40000000],
    ['512 GiB at level 4', { '0x2000000': '0x6000008000000001' }, READ, '0x8010200567', 0x8000000000],
    ['8 KiB', { '0x2003008': '0x6000000002100e01' }, read('0x10201567'), '0x2101567', 0x2000],
    ['16 KiB', { '0x2003010': '0x6000000002101e01' }, read('0x10202567'), '0x2102567', 0x4000],
    ['1 MiB', { '0x20037f8': '0x600000000307fe01' }, read('0x102FFFFF'), '0x30fffff', 0x100000],
    ['4 MiB', { '0x2002408': '0x60000000041ffe01' }, READ, '0x4200567', 0x400000],
    ['2 GiB', { '0x2001000': '0x600000013ffffe01' }, READ, '0x110200567', 0x80000000],
  ])('%s', async (_, words, asked, machineAddress, pageSize) => {
    expect(await one({ words }, asked)).toEqual({ machineAddress, pageSize, access: 'rw' })
  })

  test('levels are skipped where the skipped bits of the address are 0', async () => {
    // From level 4 to the table of level 1 at 0x2003000.
    const words = { '0x2000000': '0x6000000002003201', '0x2003ff8': '0x6000000002abc001' }
    const [result] = await results(file({ words }, read('0x1ff123')))
    expect(outcome(result!)).toMatchObject({ machineAddress: '0x2abc123', pageSize: 4096 })
    expect(steps(result!).slice(1)).toEqual([
      'page 4 0x2000000 0x6000000002003201',
      'page 1 0x2003ff8 0x6000000002abc001',
    ])
    for (const address of ['0x200123', '0x40000123', '0x7fffe00123'])
      expect(await one({ words }, read(address))).toMatchObject({
        fault: { code: 2 },
        record: { words: ['0x2010123400000010', address] },
      })
  })

  test('five and six levels, as far as HATS goes', async () => {
    const five = { '0x1000200': '0x6000000002004a03', '0x2004008': '0x6000000002000801' }
    const deep = read('0x1000010200567')
    expect(await one({ words: five, personality: 'hats5' }, deep)).toHaveProperty('machineAddress', '0x2100567')
    const six = { ...five, '0x1000200': '0x6000000002005c03', '0x20053f8': '0x6000000002004a01' }
    expect(await one({ words: six }, read('0xfe01000010200567'))).toHaveProperty('machineAddress', '0x2100567')
    expect(await one({ words: six, personality: 'qemu' }, read('0xfe01000010200567'))).toHaveProperty('machineAddress')
    expect(await one({ words: five, personality: 'hats4' }, deep)).toHaveProperty('fault.code', 2)
    expect(await one({ words: six, personality: 'hats5' }, deep)).toHaveProperty('fault.code', 2)
  })

  test('rights are ANDed from the device table entry down', async () => {
    const words = { '0x1000200': '0x2000000002000803' }
    expect(await one({ words })).toMatchObject({ machineAddress: '0x2100567', access: 'r' })
    const [result] = await results(file({ words: { '0x2001000': '0x4000000002002401' } }, WRITE))
    expect(result!.access).toBe('w')
    expect(result!.steps.map(({ access }) => access)).toEqual(['rw', 'rw', 'w', 'w', 'w'])
  })

  test('ignored bits are ignored: 4:1, 8:7 and 63; A, D, U and FC are no obstacle', async () => {
    expect(await one({ words: { '0x2003000': '0xf8000000021001ff' } })).toHaveProperty('machineAddress', '0x2100567')
    expect(await one({ words: { '0x2000000': '0xe0000000020017ff' } })).toHaveProperty('machineAddress', '0x2100567')
  })
})

describe('what passes (B.3)', () => {
  const same = { machineAddress: '0xfffffedcba987654', pageSize: 0 }
  const far = request('00:02.0', 'write', '0xFFFFFEDCBA987654')

  test('V = 0: untranslated and unchecked, whatever else the entry says', async () => {
    for (const entry of ['0x0', '0x9ffffffffffffffe'])
      expect(await one({ words: { '0x1000200': entry } }, far)).toEqual({ ...same, access: 'rw' })
  })

  test('a zeroed device table passes everything', async () => {
    expect(await one({ table: '0x7000000' }, far)).toEqual({ ...same, access: 'rw' })
  })

  test('Mode 0: as it is, IR and IW checked', async () => {
    expect(await one({ words: { '0x1000200': '0x4000000000000003' } }, far)).toEqual({ ...same, access: 'w' })
    expect(await one({ words: { '0x1000200': '0x2000000000000003' } }, far)).toMatchObject({
      fault: { code: 2 },
      record: { words: ['0x2070123400000010', '0xfffffedcba987654'] },
    })
  })
})

describe('events (B.6)', () => {
  const AT = '0x10200567'
  // The flags of real logs: 0x0000 and 0x0020 not present, 0x0050 and 0x0070 not permitted.
  test.each<[what: string, code: number, options: Options, read: string, address?: string]>([
    ['page not present', 2, { words: { '0x2003000': '0x7ffffffffffffffe' } }, '0x2000123400000010'],
    ['directory not present', 2, { words: { '0x2002408': '0x6000000002003200' } }, '0x2000123400000010'],
    ['no right in the device table entry', 2, { words: { '0x1000200': '0x2000803' } }, '0x2050123400000010'],
    ['no right in a directory', 2, { words: { '0x2001000': '0x2002401' } }, '0x2050123400000010'],
    ['no right in the page', 2, { words: { '0x2003000': '0x2100001' } }, '0x2050123400000010'],
    ['leaf: bit 52', 2, { words: { '0x2003000': '0x6010000002100001' } }, '0x2090123400000010'],
    ['leaf: bit 58', 2, { words: { '0x2003000': '0x6400000002100001' } }, '0x2090123400000010'],
    ['directory: bit 60', 2, { words: { '0x2002408': '0x7000000002003201' } }, '0x2090123400000010'],
    ['next level not below its own', 2, { words: { '0x2001000': '0x6000000002002601' } }, '0x2090123400000010'],
    ['next level 1 at level 1', 2, { words: { '0x2003000': '0x6000000002100201' } }, '0x2090123400000010'],
    ['2 MiB by size at level 1', 2, { words: { '0x2003000': '0x60000000020ffe01' } }, '0x2090123400000010'],
    ['8 KiB by size at level 2', 2, { words: { '0x2002408': '0x6000000002200e01' } }, '0x2090123400000010'],
    ['Mode 7', 2, { words: { '0x1000200': '0x6000000002000e03' } }, '0x2090123400000010'],
    [
      'more levels than HATS',
      2,
      { words: { '0x1000200': '0x6000000002000a03' }, personality: 'hats4' },
      '0x2090123400000010',
    ],
    ['V = 1, TV = 0', 2, { words: { '0x1000200': '0x6000000002000801' } }, '0x2000123400000010'],
    [
      'device table entry: bit 2',
      1,
      { words: { '0x1000200': '0x6000000002000807' } },
      '0x1080000000000010',
      '0x10200564',
    ],
    [
      'device table entry: bit 63',
      1,
      { words: { '0x1000200': '0xe000000002000803' } },
      '0x1080000000000010',
      '0x10200564',
    ],
    ['device table cannot be read', 3, { absent: [['0x1000200', '0x1']] }, '0x3200000000000010', '0x1000200'],
    ['the same by its last byte', 3, { absent: [['0x100021f', '0x1']] }, '0x3200000000000010', '0x1000200'],
    ['top table cannot be read', 4, { absent: [['0x2000000', '0x1000']] }, '0x4200123400000010', '0x2000000'],
    ['page table cannot be read', 4, { absent: [['0x2003007', '0x1']] }, '0x4200123400000010', '0x2003000'],
  ])('%s: %i', async (_, code, options, word, address = AT) => {
    const found = await one(options)
    expect(found).toMatchObject({ fault: { code }, record: { words: [word, address] } })
    expect(Object.keys(found)).toEqual(['fault', 'record'])
    // RW is bit 5 of the flags, bit 53 of the word.
    const written = `0x${(BigInt(word) | 0x20000000000000n).toString(16)}`
    expect(await one(options, WRITE)).toMatchObject({ fault: { code }, record: { words: [written, address] } })
  })

  test('an address above the table’s levels', async () => {
    const words = { '0x1000200': '0x6000000002001603' }
    expect(await one({ words })).toHaveProperty('machineAddress', '0x2100567')
    for (const address of ['0x8000000000', '0xffffff8000000000'])
      expect(await one({ words }, read(address))).toMatchObject({
        fault: { code: 2 },
        record: { words: ['0x2000123400000010', address] },
      })
    expect(await one({}, read('0x1000000000000'))).toHaveProperty('fault.code', 2)
  })

  test('a device beyond the table: its size is (8:0 + 1) × 4 KiB, 128 devices each', async () => {
    // 01:00.0 is the 257th device: the third page.
    const words = { '0x1002000': '0x6000000002000803' }
    const asked = request('01:00.0', 'write', AT)
    expect(await one({ words, table: '0x1000001' }, asked)).toMatchObject({
      fault: { code: 2 },
      record: { words: ['0x2020000000000100', AT] },
    })
    expect(await one({ words, table: '0x1000002' }, asked)).toHaveProperty('machineAddress', '0x2100567')
    // Only 51:12 and 8:0 count.
    expect(await one({ words, table: '0xfff0000001000e02' }, asked)).toHaveProperty('machineAddress', '0x2100567')
  })

  test('SA keeps page faults out of the log, SE those after the first, other events come all the same', async () => {
    const quiet = (flags: string) => ({ '0x1000208': flags })
    const absent = { '0x2003000': '0x0' }
    expect(await one({ words: { ...absent, ...quiet('0x400001234') } })).toMatchObject({
      fault: { code: 2 },
      record: null,
    })
    expect(await one({ words: { ...absent, ...quiet('0x200001234') } })).toMatchObject({
      record: { words: ['0x2000123400000010', AT] },
    })
    const twice = await results(file({ words: { ...absent, ...quiet('0x200001234') } }, READ, READ))
    expect(twice[1]).toEqual(twice[0])
    expect(await one({ words: quiet('0x400001234'), absent: [['0x2003000', '0x1000']] })).toMatchObject({
      fault: { code: 4 },
      record: { words: ['0x4200123400000010', '0x2003000'] },
    })
    expect(await one({ words: { '0x1000200': '0x6000000002000807', ...quiet('0x400001234') } })).toMatchObject({
      fault: { code: 1 },
      record: { words: ['0x1080000000000010', '0x10200564'] },
    })
  })
})

describe('special address ranges', () => {
  test('a message is an interrupt; everything else in 0xFEExxxxx is INVALID_DEVICE_REQUEST', async () => {
    const [message, wide, odd, reading] = await results(
      file(
        {},
        request('00:02.0', 'write', '0xfee00010', 4),
        request('00:02.0', 'write', '0xfee00010', 8),
        request('00:02.0', 'write', '0xfee00012', 4),
        request('00:02.0', 'read', '0xfeefffff', 1),
      ),
    )
    expect(message).toEqual({ interrupt: true, steps: [] })
    expect(outcome(wide!)).toMatchObject({
      fault: { code: 8 },
      record: { words: ['0x8c00000000000010', '0xfee00010'] },
    })
    expect(outcome(odd!)).toMatchObject({ fault: { code: 8 }, record: { words: ['0x8c00000000000010', '0xfee00012'] } })
    expect(outcome(reading!)).toMatchObject({
      fault: { code: 8 },
      record: { words: ['0x8000000000000010', '0xfeefffff'] },
    })
    expect(await one({}, read('0xfef00000'))).toHaveProperty('fault.code', 2)
  })

  test('HyperTransport’s interrupt range: flags 0x0a00 at 0xFDF8000020, as real logs have it', async () => {
    expect(await one({}, request('00:02.0', 'write', '0xfdf8000020'))).toMatchObject({
      fault: { code: 8 },
      record: { words: ['0x8a00000000000010', '0xfdf8000020'] },
    })
  })
})
