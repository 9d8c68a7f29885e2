/**
 * What `iospace walk` is given: tables, registers and requests, out of JSON text. Nothing is guessed: whatever is not as it must be is a
 * FileError with its path. Addresses may be any that 64 bits can name, of any alignment.
 */
import { Item } from '../json/item.ts'
import { shown } from '../json/path.ts'
import { FileMemory, MEMORY_END, type Range } from './memory.ts'
import type { WalkRequest } from './result.ts'
import { WALK_UNITS } from './units/index.ts'
import type { RegisterValues, WalkUnit } from './units/unit.ts'

export interface WalkInput {
  readonly iommu: string
  readonly unit: WalkUnit
  readonly personality: string
  readonly registers: RegisterValues
  readonly memory: FileMemory
  readonly requests: readonly WalkRequest[]
}

/** The word keys of a memory entry: bytes of a word, and their order. */
const WORDS = {
  u64le: { bytes: 8, little: true },
  u64be: { bytes: 8, little: false },
  u32le: { bytes: 4, little: true },
} as const

const WORD_KEYS = Object.keys(WORDS) as (keyof typeof WORDS)[]
const UNIT_KEYS = Object.keys(WALK_UNITS) as (keyof typeof WALK_UNITS)[]
const PAGE = 4096

/** Reads `text`. FileError for whatever is wrong with it. */
export function readWalkInput(text: string): WalkInput {
  const members = Item.parse(text).members(['iommu', 'personality', 'registers', 'memory', 'requests'], ['absent'])
  const iommu = members.iommu.oneOf(UNIT_KEYS)
  const unit: WalkUnit = WALK_UNITS[iommu]
  const personality = members.personality.oneOf(unit.personalities)
  const registers = readRegisters(members.registers, unit)
  const memory = readMemory(members.memory)
  if (members.absent !== undefined) memory.setAbsent([...members.absent].map(readRange))
  const requests = [...members.requests].map((item) => readRequest(item, unit))
  return { iommu, unit, personality, registers, memory, requests }
}

function readRegisters(item: Item, { registers }: WalkUnit): RegisterValues {
  const known = Object.keys(registers)
  return new Map(
    item.entries().map(([name, value]) => {
      if (!known.includes(name)) value.fail(`is unknown: the registers here are ${known.join(', ')}`)
      return [name, value.integer(registers[name]!)]
    }),
  )
}

function readMemory(item: Item): FileMemory {
  const memory = new FileMemory()
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  const word = { 4: bytes.subarray(0, 4), 8: bytes }
  for (const entry of item) {
    const members = entry.members(['address'], WORD_KEYS)
    const first = members.address.integer(64)
    const given = WORD_KEYS.filter((key) => members[key] !== undefined)
    if (given.length !== 1)
      entry.fail(
        given.length === 0 ? `has none of ${WORD_KEYS.join(', ')}` : `has two word keys, ${given.join(' and ')}`,
      )
    const key = given[0]!
    const { bytes: size, little } = WORDS[key]
    const words = members[key]!
    if (first + BigInt(words.length * size) > MEMORY_END) words.fail('ends beyond the last address of 64 bits')
    let address = first
    for (const value of words) {
      if (size === 8) view.setBigUint64(0, value.integer(64), little)
      else view.setUint32(0, Number(value.integer(32)), little)
      const done = memory.put(address, word[size])
      if (done >= 0) value.fail(`gives byte 0x${(address + BigInt(done)).toString(16)} again`)
      address += BigInt(size)
    }
  }
  return memory
}

function readRange(item: Item): Range {
  const { address, length } = item.members(['address', 'length'])
  const first = address.integer(64)
  const end = first + length.integer(64)
  if (end > MEMORY_END) length.fail('ends beyond the last address of 64 bits')
  return { first, end }
}

function readRequest(item: Item, unit: WalkUnit): WalkRequest {
  const members = item.members(['device', 'access', 'address', 'length'])
  const requester = readDevice(members.device, unit)
  const write = members.access.oneOf(['read', 'write']) === 'write'
  const address = members.address.integer(64)
  return { requester, write, address, length: readLength(members.length, unit, write, address) }
}

function readDevice(item: Item, { buses }: WalkUnit): number {
  const text = item.text()
  const [, bus, device, fn] = /^([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i.exec(text) ?? []
  if (bus === undefined) item.fail(`is ${shown(text)}, not a bus, a device and a function as in 00:1f.7`)
  const number = Number(`0x${bus}`)
  if (number >= buses) item.fail(`is on bus 0x${bus}, which has no table: buses are 00 to ${hexByte(buses - 1)}`)
  return (number << 8) | (Number(`0x${device}`) << 3) | Number(fn)
}

function readLength(item: Item, { zeroLengthReads }: WalkUnit, write: boolean, address: bigint): number {
  const length = item.integer(64)
  if (length > PAGE) item.fail(`is ${length}: a request has at most ${PAGE} bytes`)
  if (length === 0n && (write || !zeroLengthReads))
    item.fail(`is 0: ${zeroLengthReads ? 'a write' : 'a request of this unit'} has at least 1 byte`)
  if ((address & 0xfffn) + length > PAGE) item.fail(`is ${length}, which goes across a boundary of ${PAGE} bytes`)
  return Number(length)
}

const hexByte = (value: number): string => value.toString(16).padStart(2, '0')
