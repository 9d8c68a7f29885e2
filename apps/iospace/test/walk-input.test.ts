/** Files that `iospace walk` refuses: status 2, nothing on standard output, one sentence with the path of what is wrong. */
import { describe, expect, test } from 'vitest'
import { outcome, results, walk } from './walk-file.ts'

/** A file with nothing wrong, as text: tests put other text in place of a part. */
const GOOD = `{
  "iommu": "vtd",
  "personality": "qemu48",
  "registers": {"RTADDR": "0x10000000"},
  "memory": [
    {"address": "0x10000000", "u64le": ["0x10001001", 0]},
    {"address": "0x20000000", "u32le": [1, 2, 3]}
  ],
  "absent": [{"address": "0x30000000", "length": "0x1000"}],
  "requests": [
    {"device": "00:01.0", "access": "read", "address": "0x10200567", "length": 4},
    {"device": "00:01.0", "access": "write", "address": "0x10200567", "length": 4}
  ]
}`

async function refusal(text: string | Uint8Array): Promise<string> {
  const { status, out, err } = await walk(text, '--json')
  expect({ status, out }).toEqual({ status: 2, out: '' })
  // One line, and as short as a sentence is.
  expect(err).toMatch(/^iospace: .*[^.]\n$/)
  expect(err.length).toBeLessThan(300)
  const asText = await walk(text)
  expect(asText).toEqual({ status, out, err })
  return err
}

const inPlace = (part: string, other: string): string => {
  expect(GOOD.split(part)).toHaveLength(2)
  return GOOD.replace(part, () => other)
}

test('the file that the others are made from has nothing wrong', async () => {
  expect(await results(JSON.parse(GOOD) as object)).toHaveLength(2)
})

describe('keys', () => {
  test.each([
    ['"iommu": "vtd",', '', '$.iommu is missing'],
    ['"personality": "qemu48",', '', '$.personality is missing'],
    ['"registers": {"RTADDR": "0x10000000"},', '', '$.registers is missing'],
    ['"access": "read", ', '', '$.requests[0].access is missing'],
    ['"device": "00:01.0", "access": "write"', '"access": "write"', '$.requests[1].device is missing'],
    ['"address": "0x20000000", ', '', '$.memory[1].address is missing'],
    [', "length": "0x1000"', '', '$.absent[0].length is missing'],
    ['"iommu": "vtd",', '"iommu": "vtd", "comment": "hello",', '$.comment is unknown'],
    ['"access": "read",', '"access": "read", "Length": 4,', '$.requests[0].Length is unknown'],
    ['"address": "0x20000000",', '"address": "0x20000000", "u8": [1],', '$.memory[1].u8 is unknown'],
    ['"length": "0x1000"', '"length": "0x1000", "end": 1', '$.absent[0].end is unknown'],
    ['"iommu": "vtd",', '"iommu": "vtd", "__proto__": {},', '$.__proto__ is unknown'],
    ['"iommu": "vtd",', '"iommu": "vtd", "a b\\n": {},', '$["a b\\n"] is unknown'],
    ['"iommu": "vtd",', '"iommu": "vtd", "iommu": "vtd",', '$.iommu is given twice'],
    ['"length": "0x1000"', '"length": "0x1000", "l\\u0065ngth": 1', '$.absent[0].length is given twice'],
    ['"RTADDR": "0x10000000"', '"RTADDR": "0x10000000", "RTADDR": "0x10000000"', '$.registers.RTADDR is given twice'],
  ])('%s → %s', async (part, other, problem) => {
    expect(await refusal(inPlace(part, other))).toContain(`: ${problem}`)
  })

  test('a memory entry has exactly one word key', async () => {
    const part = '"u32le": [1, 2, 3]'
    expect(await refusal(inPlace(part, `${part}, "u64be": []`))).toContain(
      '$.memory[1] has two word keys, u64be and u32le',
    )
    expect(await refusal(inPlace(`, ${part}`, ''))).toContain('$.memory[1] has none of u64le, u64be, u32le')
  })

  test('a list of memory that is missing', async () => {
    const file = JSON.parse(GOOD) as Record<string, unknown>
    delete file['memory']
    expect(await refusal(JSON.stringify(file))).toContain('$.memory is missing')
    file['memory'] = []
    delete file['requests']
    expect(await refusal(JSON.stringify(file))).toContain('$.requests is missing')
  })

  test('absent alone may be left out', async () => {
    const file = JSON.parse(GOOD) as Record<string, unknown>
    const whole = await results(file)
    delete file['absent']
    expect(await results(file)).toEqual(whole)
  })
})

describe('values', () => {
  test.each([
    ['"iommu": "vtd"', '"iommu": "VTD"', '$.iommu is "VTD", not one of vtd, amdvi, calgary, gart'],
    ['"iommu": "vtd"', '"iommu": "constructor"', '$.iommu is "constructor"'],
    ['"iommu": "vtd"', '"iommu": 1', '$.iommu is the number 1, not a string'],
    ['"qemu48"', '"qemu40"', '$.personality is "qemu40", not one of '],
    ['"qemu48"', '"toString"', '$.personality is "toString"'],
    ['"qemu48"', '"hats6"', '$.personality is "hats6"'],
    ['"qemu48"', 'null', '$.personality is null, not a string'],
    ['"RTADDR"', '"rtaddr"', '$.registers.rtaddr is unknown: the registers here are RTADDR'],
    ['"RTADDR"', '"TAR0"', '$.registers.TAR0 is unknown'],
    ['"RTADDR"', '"GCMD"', '$.registers.GCMD is unknown'],
    ['{"RTADDR": "0x10000000"}', '[]', '$.registers is an array, not an object'],
    ['{"RTADDR": "0x10000000"}', '"0x10000000"', '$.registers is the string "0x10000000", not an object'],
    ['"RTADDR": "0x10000000"', '"RTADDR": "0x1ffffffffffffffff"', '$.registers.RTADDR has more than 64 bits'],
    ['"RTADDR": "0x10000000"', '"RTADDR": null', '$.registers.RTADDR is null, not a number'],
    ['[1, 2, 3]', '[1, 2, 4294967296]', '$.memory[1].u32le[2] has more than 32 bits'],
    ['[1, 2, 3]', '[1, "0x100000000", 3]', '$.memory[1].u32le[1] has more than 32 bits'],
    ['[1, 2, 3]', '[1, -2, 3]', '$.memory[1].u32le[1] is negative'],
    ['[1, 2, 3]', '[1, 2.5, 3]', '$.memory[1].u32le[1] is no integer'],
    ['[1, 2, 3]', '[1, 2, 3e0]', '$.memory[1].u32le[2] is no integer'],
    ['[1, 2, 3]', '[1, [2], 3]', '$.memory[1].u32le[1] is an array, not a number'],
    ['[1, 2, 3]', '1', '$.memory[1].u32le is the number 1, not an array'],
    ['[1, 2, 3]', '{}', '$.memory[1].u32le is an object, not an array'],
    ['"0x10001001"', '"10001001"', '$.memory[0].u64le[0] is "10001001"'],
    ['"0x10001001"', '"0x"', '$.memory[0].u64le[0] is "0x"'],
    ['"0x10001001"', '"0x1000_1001"', '$.memory[0].u64le[0] is '],
    ['"0x10001001"', '" 0x10001001"', '$.memory[0].u64le[0] is '],
    ['"0x10001001"', '"-0x1"', '$.memory[0].u64le[0] is '],
    ['"0x10001001"', '"0x1g"', '$.memory[0].u64le[0] is '],
    ['"0x10001001"', '""', '$.memory[0].u64le[0] is ""'],
    ['"0x10001001"', '18446744073709551616', '$.memory[0].u64le[0] has more than 64 bits'],
    ['"0x10001001"', '1e400', '$.memory[0].u64le[0] is no integer'],
    ['"0x10001001"', '-0', '$.memory[0].u64le[0] is negative'],
    ['"address": "0x20000000"', '"address": "0x10000000000000000"', '$.memory[1].address has more than 64 bits'],
    ['"length": "0x1000"', '"length": true', '$.absent[0].length is true, not a number'],
    ['"length": "0x1000"', '"length": "0xffffffffffffffff"', '$.absent[0].length ends beyond the last address'],
    ['"access": "read"', '"access": "Read"', '$.requests[0].access is "Read", not one of read, write'],
    ['"access": "read"', '"access": ["read"]', '$.requests[0].access is an array, not a string'],
    [
      '"read", "address": "0x10200567", "length": 4',
      '"read", "address": "0x10200567", "length": 0.5',
      '$.requests[0].length is no integer',
    ],
  ])('%s → %s', async (part, other, problem) => {
    expect(await refusal(inPlace(part, other))).toContain(`: ${problem}`)
  })

  test.each(['0:1.0', '00:01', '00:01.8', '00:20.0', '100:01.0', '00:1.0', '00:01.0 ', '0000:00:01.0', 'gg:01.0', ''])(
    'device %j',
    async (device) => {
      const text = inPlace(
        '"device": "00:01.0", "access": "write"',
        `"device": ${JSON.stringify(device)}, "access": "write"`,
      )
      expect(await refusal(text)).toContain('$.requests[1].device is ')
    },
  )

  test.each([
    ['"registers": {"RTADDR": "0x10000000"}', '"registers": {"DevTabBase": 0}', 'amdvi', 'hats6', 64],
    ['"registers": {"RTADDR": "0x10000000"}', '"registers": {"F3x94": "0x100000000"}', 'gart', 'k8', 32],
    ['"registers": {"RTADDR": "0x10000000"}', '"registers": {"TAR3": "0x10000000000000000"}', 'calgary', 'calioc2', 64],
  ])('%s → %s: the width is the register’s', async (part, other, iommu, personality, bits) => {
    const text = inPlace(part, other).replace('"vtd"', `"${iommu}"`).replace('"qemu48"', `"${personality}"`)
    if (iommu === 'amdvi') expect(await walk(text, '--json')).toMatchObject({ status: 0 })
    else expect(await refusal(text)).toContain(` has more than ${bits} bits`)
  })

  test('the top must be an object', async () => {
    expect(await refusal('[]')).toContain(': $ is an array, not an object')
    expect(await refusal('null')).toContain(': $ is null, not an object')
    expect(await refusal('"{}"')).toContain(': $ is the string "{}", not an object')
  })
})

describe('lengths', () => {
  const withLength = (access: string, address: string, length: string, iommu = 'vtd', personality = 'qemu48') =>
    JSON.stringify({
      iommu,
      personality,
      registers: {},
      memory: [],
      requests: [
        { device: '00:01.0', access: 'read', address: 0, length: 1 },
        { device: '00:01.0', access, address: 'ADDRESS', length: 'LENGTH' },
      ],
    })
      .replace('"LENGTH"', length)
      .replace('"ADDRESS"', address.startsWith('0x') ? `"${address}"` : address)

  test.each([
    ['read', '0x1000', '4097'],
    ['read', '0x1001', '4096'],
    ['write', '0x1fff', '2'],
    ['write', '0xffffffffffffffff', '2'],
    ['write', '0x1000', '0'],
    ['write', '0x1000', '"0x0"'],
    ['read', '0x1000', '"0x1001"'],
    ['read', '0x1000', '-1'],
    ['read', '0x1000', '18446744073709551617'],
    ['read', '0x1000', '"4"'],
  ])('%s at %s of %s', async (access, address, length) => {
    expect(await refusal(withLength(access, address, length))).toContain(': $.requests[1].length ')
  })

  test.each([
    ['amdvi', 'hats6'],
    ['calgary', 'calgary'],
    ['gart', 'k8'],
  ])('%s: a read of 0 bytes', async (iommu, personality) => {
    expect(await refusal(withLength('read', '0x1000', '0', iommu, personality))).toContain(
      ': $.requests[1].length is 0',
    )
  })

  test.each([
    ['read', '0x1fff', '0'],
    ['read', '0x1000', '"0X1000"'],
    ['write', '0x1fff', '1'],
    ['write', '0xffffffffffffffff', '1'],
    ['write', '18446744073709551615', '"0x0000000000000000000001"'],
  ])('%s at %s of %s is fine', async (access, address, length) => {
    expect(await walk(withLength(access, address, length), '--json')).toMatchObject({ status: 0, err: '' })
  })
})

describe('memory', () => {
  const withMemory = (...memory: string[]) =>
    GOOD.replace(/"memory": \[[^]*?\],\n {2}"absent"/, () => `"memory": [${memory.join(', ')}],\n  "absent"`)

  test.each([
    [
      ['{"address": "0x1000", "u64le": [1]}', '{"address": 4096, "u64be": [1]}'],
      '$.memory[1].u64be[0] gives byte 0x1000 again',
    ],
    [
      ['{"address": "0x1000", "u64le": [1]}', '{"address": "0xff9", "u64le": [1]}'],
      '$.memory[1].u64le[0] gives byte 0x1000 again',
    ],
    [
      ['{"address": "0x1000", "u64le": [1]}', '{"address": "0x1007", "u32le": [1]}'],
      '$.memory[1].u32le[0] gives byte 0x1007 again',
    ],
    [
      ['{"address": "0x1000", "u32le": [0]}', '{"address": "0xff8", "u64le": [1, 2]}'],
      '$.memory[1].u64le[1] gives byte 0x1000 again',
    ],
    [['{"address": "0xfffffffffffffffd", "u32le": [0]}'], '$.memory[0].u32le ends beyond the last address'],
    [['{"address": "0xfffffffffffffff8", "u64le": [0, 0]}'], '$.memory[0].u64le ends beyond the last address'],
    [['7'], '$.memory[0] is the number 7, not an object'],
  ])('%j', async (memory, problem) => {
    expect(await refusal(withMemory(...memory))).toContain(`: ${problem}`)
  })

  test('entries may touch, be empty, lie anywhere, in any order and at any alignment', async () => {
    const text = withMemory(
      '{"address": "0x10000008", "u64le": [0]}',
      // P and the pointer of the root entry, by its bytes: 0x10001001.
      '{"address": "0xffffffd", "u32le": ["0x01000000"]}',
      '{"address": "0x10000001", "u32le": ["0x00100010"]}',
      '{"address": "0x10000000", "u64le": []}',
      '{"address": "0xfffffffffffffff8", "u64be": ["0x1"]}',
    )
    const [result] = await results(JSON.parse(text) as object)
    expect(result!.steps[0]).toMatchObject({ entry: 'root', value: '0x10001001' })
  })

  test('absent wins over listed, may overlap itself, be empty, and reach to the end of memory', async () => {
    const file = JSON.parse(GOOD) as { absent: object[] }
    file.absent = [
      { address: '0x10000008', length: 1 },
      { address: '0x10000000', length: '0x0' },
      { address: '0x40000000', length: '0xffffffffc0000000' },
      { address: '0x41000000', length: 16 },
    ]
    expect(outcome((await results(file))[0]!)).toMatchObject({ fault: { code: 8 } })
    file.absent = [{ address: '0x10000000', length: 0 }]
    expect(outcome((await results(file))[0]!)).toMatchObject({ fault: { code: 2 } })
    file.absent = [
      { address: '0x0', length: '0x10000000' },
      { address: '0x10000010', length: '0xf70' },
    ]
    expect(outcome((await results(file))[0]!)).toMatchObject({ fault: { code: 2 } })
  })
})

describe('what is no JSON', () => {
  test.each([
    ['', '$ is no JSON: a value is expected in line 1, column 1'],
    ['{', '$ is no JSON: a key in double quotes is expected in line 1, column 2'],
    [`${GOOD}x`, '$ is no JSON: the end of the file is expected in line 14, column 2'],
    [inPlace('"length": 4},', '"length": 4}'), '$.requests is no JSON: “,” or “]” is expected in line 12, column 5'],
    [inPlace('"iommu": "vtd"', '"iommu": vtd'), '$.iommu is no JSON: a value is expected in line 2, column 12'],
    [
      inPlace('"iommu": "vtd"', "'iommu': 'vtd'"),
      '$ is no JSON: a key in double quotes is expected in line 2, column 3',
    ],
    [inPlace('"vtd"', '"vt\nd"'), '$.iommu is no JSON: a closing double quote is expected in line 2, column 15'],
    [
      inPlace('"vtd"', String.raw`"vt\d"`),
      '$.iommu is no JSON: a string with valid escapes is expected in line 2, column 12',
    ],
    [inPlace('[1, 2, 3]', '[1, 2, 3,]'), '$.memory[1].u32le[3] is no JSON: a value is expected'],
    [inPlace('[1, 2, 3]', '[1, 02, 3]'), '$.memory[1].u32le is no JSON: “,” or “]” is expected'],
    [inPlace('[1, 2, 3]', '[1, 0x2, 3]'), '$.memory[1].u32le is no JSON: “,” or “]” is expected'],
    [inPlace('[1, 2, 3]', '[1, -, 3]'), '$.memory[1].u32le[1] is no JSON: a digit is expected'],
    [inPlace('[1, 2, 3]', '[1, 2., 3]'), '$.memory[1].u32le[1] is no JSON: a digit is expected'],
    [inPlace('[1, 2, 3]', '[1, NaN, 3]'), '$.memory[1].u32le[1] is no JSON: a value is expected'],
    [inPlace('"u32le": [1, 2, 3]', '"u32le" [1, 2, 3]'), '$.memory[1].u32le is no JSON: “:” is expected'],
    [GOOD.slice(0, 300), '$.requests[0] is no JSON: a closing double quote is expected in line 11'],
  ])('%j', async (text, problem) => {
    expect(await refusal(text)).toContain(`: ${problem}`)
  })

  test('bytes that are no UTF-8', async () => {
    expect(await refusal(Uint8Array.of(0x7b, 0xff, 0x7d))).toContain('is no UTF-8 text')
  })

  test('a byte order mark is no mistake', async () => {
    expect(await walk(`\uFEFF${GOOD}`, '--json')).toMatchObject({ status: 0 })
  })

  test('what a terminal would act upon is not repeated to it', async () => {
    const text = inPlace('"vtd"', '"\\u001b[2J\\u009b2J"')
    const said = await refusal(text)
    expect([said.includes('\u001b'), said.includes('\u009b')]).toEqual([false, false])
  })
})

describe('huge files and numbers end in a sentence, too', () => {
  test.each([
    ['nesting', '['.repeat(200_000), 'levels of nesting'],
    ['nested objects', '{"a":'.repeat(200_000), 'levels of nesting'],
    ['a decimal', inPlace('[1, 2, 3]', `[${'9'.repeat(5_000_000)}]`), '$.memory[1].u32le[0] has more than 32 bits'],
    ['a fraction', inPlace('[1, 2, 3]', `[0.${'9'.repeat(5_000_000)}]`), '$.memory[1].u32le[0] is no integer'],
    ['an exponent', inPlace('[1, 2, 3]', `[1e${'9'.repeat(5_000_000)}]`), '$.memory[1].u32le[0] is no integer'],
    [
      'hexadecimal',
      inPlace('[1, 2, 3]', `["0x${'f'.repeat(5_000_000)}"]`),
      '$.memory[1].u32le[0] has more than 32 bits',
    ],
    ['no hexadecimal', inPlace('[1, 2, 3]', `["0x${'f'.repeat(5_000_000)}z"]`), '$.memory[1].u32le[0] is '],
    ['a key', inPlace('"iommu": "vtd"', `"${'k'.repeat(5_000_000)}": 1`), '$["kkkk'],
    ['more than 64 MiB', ' '.repeat((64 << 20) + 1), 'has more than 64 MiB'],
  ])('%s', async (_, text, problem) => {
    expect(await refusal(text)).toContain(problem)
  })

  test('zeros in front of a number are no more than zeros', async () => {
    expect(await walk(inPlace('[1, 2, 3]', `["0X${'0'.repeat(1_000_000)}Ff"]`), '--json')).toMatchObject({ status: 0 })
  })
})
