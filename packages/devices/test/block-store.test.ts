import { expect, test } from 'vitest'
import { MemoryBlockStore, StoreStatus } from '../src/index.ts'
import { pattern } from './rig.ts'

test('a memory store moves bytes between its offsets and any place of an array', () => {
  const store = new MemoryBlockStore(pattern(1000))
  const target = new Uint8Array(100)
  expect(store.bytes).toBe(1000)
  expect(store.read(7, target, 10, 50)).toBe(StoreStatus.ok)
  expect([...target]).toEqual([...new Uint8Array(10), ...pattern(1000).subarray(7, 57), ...new Uint8Array(40)])
  expect(store.write(950, target, 10, 50)).toBe(StoreStatus.ok)
  expect([...store.contents.subarray(950)]).toEqual([...target.subarray(10, 60)])
})

test('what it cannot do is a value: short after it shrank, full, read-only', () => {
  const store = new MemoryBlockStore(pattern(1000))
  store.contents = store.contents.slice(0, 500)
  const buffer = new Uint8Array(10)
  expect(store.bytes).toBe(1000)
  expect(store.read(495, buffer, 0, 10)).toBe(StoreStatus.short)
  expect(store.write(495, buffer, 0, 10)).toBe(StoreStatus.full)
  const readOnly = new MemoryBlockStore(pattern(10), { readOnly: true })
  expect(readOnly.write(0, buffer, 0, 10)).toBe(StoreStatus.readOnly)
  expect([...readOnly.contents]).toEqual([...pattern(10)])
})
