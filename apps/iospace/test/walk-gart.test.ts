/** The AMD GART through `iospace walk`: every word typed by hand from the facts (D), none made by an encoder of ours. */
import { describe, expect, test } from 'vitest'
import { memory, outcome, request, type Request, results, steps } from './walk-file.ts'

interface Options {
  readonly words?: Readonly<Record<string, string>>
  readonly absent?: readonly (readonly [address: string, length: string])[]
  readonly registers?: Readonly<Record<string, string>>
}

/** 64 MiB at 0x40000000 (0x20 << 25), table at 0x1000000. */
const REGISTERS = { F3x90: '0x3', F3x94: '0x20', F3x98: '0x10000' }

const file = ({ words = {}, absent = [], registers = {} }: Options, ...requests: Request[]) => ({
  iommu: 'gart',
  personality: 'k8',
  registers: { ...REGISTERS, ...registers },
  memory: memory({ '0x1000004': '0x2345001', ...words }, 'u32le'),
  absent: absent.map(([address, length]) => ({ address, length })),
  requests,
})

const read = (address: string) => request('00:02.0', 'read', address, 1)

async function one(options: Options, asked: Request = read('0x40001567')) {
  return outcome((await results(file(options, asked)))[0]!)
}

const passed = (machineAddress: string) => ({ machineAddress, pageSize: 0, access: 'rw' })

describe('the aperture', () => {
  test('one 4-byte entry per page', async () => {
    const [result] = await results(file({}, read('0x40001567')))
    expect(outcome(result!)).toEqual({ machineAddress: '0x2345567', pageSize: 4096, access: 'rw' })
    expect(steps(result!)).toEqual(['PTE 0x1000004 0x2345001'])
    expect(result!.steps[0]!.bits).toEqual({ valid: 1, coherent: 0, page: '0x2345000' })
  })

  test('11:4 of an entry are 39:32 of the page; 3:2 are not looked at', async () => {
    const [result] = await results(file({ words: { '0x1000004': '0x02345abf' } }, read('0x40001567')))
    expect(outcome(result!)).toMatchObject({ machineAddress: '0xab02345567' })
    expect(result!.steps[0]).toMatchObject({
      value: '0x2345abf',
      bits: { valid: 1, coherent: 1, page: '0xab02345000' },
    })
  })

  test('who asks for what is all the same: no rights, no isolation', async () => {
    const write = request('ff:1f.7', 'write', '0x40001567')
    expect(await one({}, write)).toEqual({ machineAddress: '0x2345567', pageSize: 4096, access: 'rw' })
  })

  test('what lies outside passes as it is', async () => {
    for (const address of ['0x3fffffff', '0x44000000', '0x140001567', '0xffffffffffffffff', '0x0'])
      expect(await one({}, read(address))).toEqual(passed(address))
  })

  test.each([0, 1, 2, 3, 4, 5, 6])('size order %i: 32 MiB << order', async (order) => {
    const bytes = 0x2000000 * 2 ** order
    const last = 0x1000000 + (bytes / 4096 - 1) * 4
    const words = { [`0x${last.toString(16)}`]: '0x6789001' }
    const registers = { F3x90: `0x${(1 | (order << 1)).toString(16)}`, F3x94: '0x40' }
    const at = (address: number) => one({ words, registers }, read(`0x${address.toString(16)}`))
    expect(await at(0x80000000 + bytes - 1)).toMatchObject({ machineAddress: '0x6789fff' })
    expect(await at(0x80000000 + bytes)).toEqual(passed(`0x${(0x80000000 + bytes).toString(16)}`))
    expect(await at(0x7fffffff)).toEqual(passed('0x7fffffff'))
  })

  test('above 4 GiB: the base has 39:25, the table 39:12', async () => {
    // Base 0xab40000000 = 0x55a0 << 25; table 0xcd12345000.
    const registers = { F3x94: '0x55a0', F3x98: '0xcd123450' }
    const words = { '0xcd12345004': '0x2345001' }
    expect(await one({ registers, words }, read('0xab40001567'))).toMatchObject({ machineAddress: '0x2345567' })
  })

  test('bits that the registers do not have are not looked at', async () => {
    const registers = { F3x90: '0xffffff83', F3x94: '0xffff8020', F3x98: '0x1000f' }
    expect(await one({ registers })).toMatchObject({ machineAddress: '0x2345567' })
  })
})

describe('what is not translated', () => {
  test.each([
    ['GartEn is 0', '0x2'],
    ['DisGartIo is 1', '0x23'],
    ['the size is the reserved one', '0xf'],
  ])('%s', async (_, F3x90) => {
    expect(await one({ registers: { F3x90 } })).toEqual(passed('0x40001567'))
  })

  test('DisGartCpu and the walk probes are no matter of devices', async () => {
    expect(await one({ registers: { F3x90: '0x53' } })).toMatchObject({ machineAddress: '0x2345567' })
  })

  test('registers reset to 0: off', async () => {
    const found = await results({ ...file({}, read('0x40001567')), registers: {} })
    expect(found).toEqual([{ ...passed('0x40001567'), steps: [] }])
  })
})

describe('faults have no code and no record', () => {
  test('an entry that is not valid', async () => {
    const [result] = await results(file({ words: { '0x1000004': '0xfffffffe' } }, read('0x40001567')))
    expect(outcome(result!)).toMatchObject({ fault: { code: 0 }, record: null })
    expect(steps(result!)).toEqual(['PTE 0x1000004 0xfffffffe'])
  })

  test('an entry that cannot be read; its neighbour in the same 8 bytes can', async () => {
    const absent = [['0x1000004', '0x4']] as const
    expect(await one({ absent })).toMatchObject({ fault: { code: 0 }, record: null })
    expect(await one({ absent, words: { '0x1000000': '0x2345001' } }, read('0x40000567'))).toMatchObject({
      machineAddress: '0x2345567',
    })
  })
})
