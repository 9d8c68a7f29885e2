/** Calgary and CalIOC2 through `iospace walk`: every word typed by hand from the facts (C.1), none made by an encoder of ours. */
import { describe, expect, test } from 'vitest'
import { memory, outcome, request, type Request, results, steps, walk } from './walk-file.ts'

interface Options {
  readonly words?: Readonly<Record<string, string>>
  readonly personality?: string
  readonly absent?: readonly (readonly [address: string, length: string])[]
  readonly registers?: Readonly<Record<string, string>>
}

/** TAR0: table at 0x2000000 of 64 KiB, for 32 MiB. The entry of 0x1234567 is number 0x1234. */
const file = (
  { words = {}, personality = 'calgary', absent = [], registers = { TAR0: '0x2000000' } }: Options,
  ...requests: Request[]
) => ({
  iommu: 'calgary',
  personality,
  registers,
  memory: memory({ '0x20091a0': '0x5678003', ...words }, 'u64be'),
  absent: absent.map(([address, length]) => ({ address, length })),
  requests,
})

const read = (address: string, device = '00:01.0') => request(device, 'read', address, 1)

async function one(options: Options, asked: Request = read('0x1234567')) {
  return outcome((await results(file(options, asked)))[0]!)
}

describe('entries', () => {
  test.each(['calgary', 'calioc2'])('%s: one big-endian entry of a flat table', async (personality) => {
    const [result] = await results(file({ personality }, read('0x1234567')))
    expect(outcome(result!)).toEqual({ machineAddress: '0x5678567', pageSize: 4096, access: 'rw' })
    expect(steps(result!)).toEqual(['TCE 0x20091a0 0x5678003'])
    expect(result!.steps[0]!.bits).toEqual({ READ: 1, WRITE: 1, page: '0x5678000' })
  })

  test('the same bytes as little-endian words of memory', async () => {
    const swapped = {
      ...file({}, read('0x1234567')),
      memory: [{ address: '0x20091a0', u32le: ['0x0', '0x03806705'] }],
    }
    expect(outcome((await results(swapped))[0]!)).toMatchObject({ machineAddress: '0x5678567' })
  })

  test('47:12 are the page; hub id, reserved and unused bits are not looked at', async () => {
    const words = { '0x20091a0': '0xffffabcdef678fff' }
    expect(await one({ words })).toEqual({ machineAddress: '0xabcdef678567', pageSize: 4096, access: 'rw' })
  })

  test('read and write by their own bits, and no code when they are missing', async () => {
    const write = request('00:01.0', 'write', '0x1234567')
    expect(await one({ words: { '0x20091a0': '0x5678001' } })).toMatchObject({ access: 'r' })
    expect(await one({ words: { '0x20091a0': '0x5678002' } }, write)).toMatchObject({ access: 'w' })
    for (const [entry, asked] of [
      ['0x5678002', read('0x1234567')],
      ['0x5678001', write],
      ['0x5678000', write],
      ['0x0', read('0x1234567')],
    ] as const) {
      const found = await one({ words: { '0x20091a0': entry } }, asked)
      expect(found).toMatchObject({ fault: { code: 0 }, record: null })
      expect(found.fault!.name).not.toBe('')
    }
  })

  test('an entry that cannot be read', async () => {
    const [result] = await results(file({ absent: [['0x20091a7', '0x1']] }, read('0x1234567')))
    expect(result).toMatchObject({ fault: { code: 0 }, record: null, steps: [] })
  })
})

describe('TAR', () => {
  test.each([
    [0, 0x2000000],
    [1, 0x4000000],
    [2, 0x8000000],
    [3, 0x10000000],
    [4, 0x20000000],
    [5, 0x40000000],
    [6, 0x80000000],
    [7, 0x100000000],
  ])('size code %i: the table reaches to 0x%s', async (code, end) => {
    const last = end / 4096 - 1
    const words = { [`0x${(0x80000000 + last * 8).toString(16)}`]: '0x9abc003' }
    const registers = { TAR0: `0x8000000${code}` }
    const at = (address: number) => one({ words, registers }, read(`0x${address.toString(16)}`))
    expect(await at(end - 1)).toMatchObject({ machineAddress: '0x9abcfff' })
    expect(await at(end)).toMatchObject({ fault: { code: 0 }, record: null })
  })

  test('a 64-bit address is past every table', async () => {
    expect(await one({ registers: { TAR0: '0x2000007' } }, read('0x100001234567'))).toMatchObject({
      fault: { code: 0 },
    })
  })

  test('47:15 are the address and 2:0 the size; bit 3 and the others are not looked at', async () => {
    for (const TAR0 of ['0x2000008', '0xffff000002000000', '0x2007ff0'])
      expect(await one({ registers: { TAR0 } })).toMatchObject({ machineAddress: '0x5678567' })
  })

  test('bus n has TARn; those not given are 0, other buses have none', async () => {
    const words = { '0x30091a0': '0x111003', '0x50091a0': '0x333003', '0x91a0': '0x222003' }
    const registers = { TAR1: '0x3000000', TAR3: '0x5000000' }
    const found = await results(
      file({ words, registers }, ...['01:00.0', '02:1f.7', '03:00.0'].map((bus) => read('0x1234567', bus))),
    )
    expect(found.map(({ machineAddress }) => machineAddress)).toEqual(['0x111567', '0x222567', '0x333567'])
    const refused = await walk(
      file({ registers }, read('0x1234567', '00:00.0'), read('0x1234567', '04:00.0')),
      '--json',
    )
    expect(refused).toMatchObject({ status: 2, out: '' })
    expect(refused.err).toContain('$.requests[1].device ')
  })
})

describe('what passes', () => {
  const words = {
    '0x2000500': '0x777003',
    '0x20007f8': '0x777003',
    '0x2000800': '0x777003',
    '0x20004f8': '0x777003',
    '0x2000000': '0x777003',
  }
  test.each([
    ['calgary', '0x9ffff', false],
    ['calgary', '0xa0000', true],
    ['calgary', '0xfffff', true],
    ['calgary', '0x100000', false],
    ['calioc2', '0x0', true],
    ['calioc2', '0xfffff', true],
    ['calioc2', '0x100000', false],
  ])('%s: %s untranslated: %s', async (personality, address, passes) => {
    const found = await one({ words, personality }, read(address))
    const low = (Number(address) & 0xfff).toString(16).padStart(3, '0')
    expect(found).toEqual(
      passes
        ? { machineAddress: address, pageSize: 0, access: 'rw' }
        : { machineAddress: `0x777${low}`, pageSize: 4096, access: 'rw' },
    )
  })

  test('nothing is special about 0xFEExxxxx: the table decides', async () => {
    const registers = { TAR0: '0x2000007' }
    expect(
      await one({ registers, words: { '0x27f7000': '0x777003' } }, request('00:01.0', 'write', '0xfee00000')),
    ).toEqual({
      machineAddress: '0x777000',
      pageSize: 4096,
      access: 'rw',
    })
  })
})
