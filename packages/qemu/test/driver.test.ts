/**
 * Our IOMMU drivers on QEMU's units and on ours: one test, the board's name is the only word that changes. Edu moves the bytes.
 */
import { Access } from '@iospace/iommu/driver'
import { describe, expect, test } from 'vitest'
import type { BoardName } from './boards/index.ts'
import { BRIDGED, bytes, CARRY, DEVICE, IOVA, OTHER, PAGE, pattern, READ_WRITE, setUp, TARGET } from './driver-setup.ts'
import { qemuTest } from './qemu.ts'

const boards = ['qemu39', 'qemu48', 'qemuAmd', 'ours39', 'ours48', 'oursAmd'] as const satisfies readonly BoardName[]

describe.each(boards)('%s', (name) => {
  const rule = name.startsWith('qemu') ? qemuTest : test

  rule(
    'a device that no table is attached to is blocked, so is one that was blocked again, so is one behind a port',
    () => {
      using s = setUp(name)
      s.board.memory.fill(TARGET * PAGE, 0x77, PAGE)
      s.store(DEVICE, TARGET * PAGE, 64)
      s.expectFaults([DEVICE, TARGET * PAGE, 'bus'])
      s.map(s.attach(DEVICE), 1)
      expect(s.seen(DEVICE, IOVA, 64)).toEqual(bytes(64, 0x77))
      s.expectFaults()
      expect(s.driver.block(DEVICE)).toBe(0)
      s.store(DEVICE, IOVA, 64, 100)
      s.expectFaults([DEVICE, IOVA, 'device'])
      s.store(BRIDGED, TARGET * PAGE, 64)
      s.expectFaults([BRIDGED, TARGET * PAGE, 'bus'])
      expect(s.board.memory.read(TARGET * PAGE, PAGE)).toEqual(bytes(PAGE, 0x77))
    },
  )

  rule('bytes move both ways through 4 KiB pages, odd lengths and page crossings included', () => {
    using s = setUp(name)
    s.map(s.attach(DEVICE), 3, READ_WRITE, true)
    const moved = pattern(3001, 5)
    s.board.memory.write(TARGET * PAGE + 77, moved)
    expect(s.seen(DEVICE, IOVA + 77, 3001)).toEqual(moved)
    s.store(DEVICE, IOVA + 2 * PAGE - 1500, 3001)
    s.board.settle()
    expect(s.board.memory.read(TARGET * PAGE + 2 * PAGE - 1500, 3001)).toEqual(moved)
    s.expectFaults()
  })

  rule('a 2 MiB page is used where it fits, and is split when a part of it is unmapped', () => {
    using s = setUp(name)
    const table = s.attach(DEVICE)
    const before = s.driver.tablePages(table)
    s.map(table, 1024)
    expect(s.driver.tablePages(table)).toBe(before + 1)
    const moved = pattern(512, 9)
    s.board.memory.write((TARGET + 700) * PAGE, moved)
    expect(s.seen(DEVICE, IOVA + 700 * PAGE, 512)).toEqual(moved)
    s.unmap(table, IOVA + 600 * PAGE)
    s.invalidate(table, IOVA + 600 * PAGE)
    expect(s.driver.tablePages(table)).toBe(before + 2)
    s.store(DEVICE, IOVA + 600 * PAGE, 512)
    s.expectFaults([DEVICE, IOVA + 600 * PAGE, 'write'])
    s.store(DEVICE, IOVA + 601 * PAGE, 512)
    s.board.settle()
    expect(s.board.memory.read((TARGET + 600) * PAGE, 512)).toEqual(bytes(512, 0))
    expect(s.board.memory.read((TARGET + 601) * PAGE, 512)).toEqual(moved)
    s.expectFaults()
  })

  rule(
    'an unmapped page stays reachable until the invalidation is complete, and then not; its neighbour is as it was',
    () => {
      using s = setUp(name)
      const table = s.attach(DEVICE)
      s.map(table, 2, READ_WRITE, true)
      s.board.memory.fill(TARGET * PAGE, 0x33, 2 * PAGE)
      expect(s.seen(DEVICE, IOVA, 16)).toEqual(bytes(16, 0x33))
      s.unmap(table, IOVA)
      expect(s.seen(DEVICE, IOVA, 16)).toEqual(bytes(16, 0x33))
      s.expectFaults()
      s.invalidate(table, IOVA)
      expect(s.seen(DEVICE, IOVA, 16)).toEqual(bytes(16, 0))
      s.expectFaults([DEVICE, IOVA, 'read'])
      expect(s.seen(DEVICE, IOVA + PAGE, 16)).toEqual(bytes(16, 0x33))
      s.expectFaults()
    },
  )

  rule('read-only and write-only pages refuse the other direction', () => {
    using s = setUp(name)
    const table = s.attach(DEVICE)
    s.map(table, 1, Access.read)
    s.board.memory.fill(TARGET * PAGE, 0x44, PAGE)
    s.store(DEVICE, IOVA, 5)
    s.expectFaults([DEVICE, IOVA, 'write'])
    expect(s.board.memory.read(TARGET * PAGE, 5)).toEqual(bytes(5, 0x44))
    expect(s.seen(DEVICE, CARRY, 5)).toEqual(bytes(5, 0))
    s.expectFaults([DEVICE, CARRY, 'read'])
  })

  rule('each device has its own table: one address leads two devices to two frames', () => {
    using s = setUp(name)
    // QEMU's AMD-Vi unit takes a device behind a root port for one of bus 0.
    const second = name === 'qemuAmd' ? OTHER : BRIDGED
    const tables = [DEVICE, second].map((bdf, i) => {
      const table = s.attach(bdf)
      expect(s.driver.map(table, 0, IOVA, TARGET + i, 1, READ_WRITE)).toBe(0)
      s.invalidate(table, IOVA)
      s.board.memory.fill((TARGET + i) * PAGE, 0x50 + i, PAGE)
      return table
    })
    expect(s.seen(DEVICE, IOVA, 9)).toEqual(bytes(9, 0x50))
    expect(s.seen(second, IOVA, 9)).toEqual(bytes(9, 0x51))
    // Destroying one leaves the other.
    expect(s.driver.block(DEVICE)).toBe(0)
    expect(s.driver.destroyTable(tables[0]!)).toBe(0)
    expect(s.seen(second, IOVA, 9)).toEqual(bytes(9, 0x51))
    s.expectFaults()
  })

  // QEMU's AMD-Vi unit skips a command that it does not know, and says nothing.
  const recovery = name === 'qemuAmd' ? test.skip : rule
  recovery(
    'a command that the unit refuses is replaced, and the invalidation completes all the same (facts A.5, B.5)',
    () => {
      using s = setUp(name)
      const table = s.attach(DEVICE)
      s.map(table, 1)
      s.board.memory.fill(TARGET * PAGE, 0x22, PAGE)
      expect(s.seen(DEVICE, IOVA, 16)).toEqual(bytes(16, 0x22))
      s.unmap(table, IOVA)
      s.spoilNextCommand()
      s.invalidate(table, IOVA)
      expect(s.seen(DEVICE, IOVA, 16)).toEqual(bytes(16, 0))
    },
  )

  rule('after a disable and a new enable nothing is reachable but through a new table', () => {
    using s = setUp(name)
    const table = s.attach(DEVICE)
    s.map(table, 1)
    s.board.memory.fill(TARGET * PAGE, 0x66, PAGE)
    expect(s.seen(DEVICE, IOVA, 16)).toEqual(bytes(16, 0x66))
    s.driver.disable()
    expect(s.driver.enable()).toBe(0)
    s.store(DEVICE, IOVA, 16, 100)
    s.expectFaults([DEVICE, IOVA, 'bus'])
    expect(s.board.memory.read(TARGET * PAGE, 16)).toEqual(bytes(16, 0x66))
    expect(s.seen(DEVICE, IOVA, 0x10)).toEqual(bytes(16, 0xee))
    s.map(s.attach(DEVICE), 1)
    expect(s.seen(DEVICE, IOVA, 16)).toEqual(bytes(16, 0x66))
  })
})
