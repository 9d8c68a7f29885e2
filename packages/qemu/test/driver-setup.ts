/** A board whose IOMMU our driver has enabled, and what the driver's test does with it. */
import { Access, AmdviDriver, VtdDriver, type IommuDriver, type IommuFault } from '@iospace/iommu/driver'
import { expect } from 'vitest'
import { openBoard, type Board, type BoardName } from './boards/index.ts'

export const DEVICE = 0x18
export const OTHER = 0x20
export const BRIDGED = 0x100
export const PAGE = 4096
/** Frame of the target pages, and where they are mapped: 2 MiB aligned both. */
export const TARGET = 0x1000
export const IOVA = 0x4000_0000
export const READ_WRITE = Access.read | Access.write

/** Where each device's table leads to its own page of {@link CARRIED}: what was fetched is stored there for us to see. */
export const CARRY = 0x8000_0000
const CARRIED = 0x1800

export const pattern = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 37 + seed) ^ (i >> 8))
export const bytes = (length: number, value: number) => new Uint8Array(length).fill(value)

/** Why a request is refused: no root entry, no context, no right to write, no right to read. */
type Cause = 'bus' | 'device' | 'write' | 'read'
/** VT-d has a reason for each; for AMD-Vi all are IO_PAGE_FAULT. */
const REASONS: Readonly<Record<Board['kind'], Readonly<Record<Cause, number>>>> = {
  vtd: { bus: 1, device: 2, write: 5, read: 6 },
  amdvi: { bus: 2, device: 2, write: 2, read: 2 },
}

type Expected = readonly [requester: number, iova: number, cause: Cause]

export interface Setup extends Disposable {
  readonly board: Board
  readonly driver: IommuDriver
  readonly width: number
  /** The unit has recorded these faults, and no others, since the last call. QEMU's AMD-Vi unit never records any. */
  expectFaults(...expected: readonly Expected[]): void
  /** Makes the next queued command one that no unit knows. */
  spoilNextCommand(): void
  /** A table for `bdf`, which only leads to its page of {@link CARRIED}. */
  attach(bdf: number): number
  /** Maps `pages` from IOVA to TARGET. */
  map(table: number, pages: number, access?: number, exact4k?: boolean): void
  /** Unmaps a page; the device may still reach it until {@link invalidate}. */
  unmap(table: number, iova: number): void
  invalidate(table: number, iova: number): void
  store(bdf: number, iova: number, length: number, at?: number): void
  /** What `bdf` finds in `length` bytes at `iova`. */
  seen(bdf: number, iova: number, length: number): Uint8Array
}

export function setUp(name: BoardName): Setup {
  const board = openBoard(name)
  try {
    return setUpOn(board)
  } catch (error) {
    board[Symbol.dispose]()
    throw error
  }
}

function setUpOn(board: Board): Setup {
  const { name } = board
  const port = board.driverPort({ first: 0x200, count: 200 })
  let spoil = false
  const storeCoherent128 = port.storeCoherent128.bind(port)
  port.storeCoherent128 = (mfn, index, hi0, lo0, hi1, lo1) => {
    // The type is in the lowest bits for VT-d, in bits 63:60 for AMD-Vi.
    if (board.kind === 'vtd') storeCoherent128(mfn, index, hi0, spoil ? lo0 | 0xf : lo0, hi1, lo1)
    else storeCoherent128(mfn, index, spoil ? hi0 | (0xf << 28) : hi0, lo0, hi1, lo1)
    spoil = false
  }
  const driver =
    board.kind === 'vtd'
      ? new VtdDriver(port, { base: board.unit })
      : new AmdviDriver(port, { base: board.unit, requesters: 0x200, npCache: true })
  expect(driver.enable()).toBe(0)
  const setup: Setup = {
    board,
    driver,
    width: Math.max(...driver.capabilities.tableWidths),
    expectFaults(...expected) {
      const found: Pick<IommuFault, 'requester' | 'lo' | 'hardwareReason'>[] = []
      driver.drainFaults(({ requester, lo, hardwareReason }) =>
        found.push({ requester, lo: (lo & -PAGE) >>> 0, hardwareReason }),
      )
      const recorded = expected.map(([requester, iova, cause]) => ({
        requester,
        lo: (iova & -PAGE) >>> 0,
        hardwareReason: REASONS[board.kind][cause],
      }))
      expect(found).toEqual(name === 'qemuAmd' ? [] : recorded)
    },
    spoilNextCommand: () => (spoil = true),
    attach(bdf) {
      const table = driver.createTable(setup.width)
      expect(driver.attach(bdf, table)).toBe(0)
      expect(driver.map(table, 0, CARRY, CARRIED, 1, Access.write)).toBe(0)
      setup.invalidate(table, CARRY)
      return table
    },
    map(table, pages, access = READ_WRITE, exact4k = false) {
      expect(driver.map(table, 0, IOVA, TARGET, pages, access, exact4k)).toBe(0)
      if (driver.capabilities.invalidateOnMap) expect(driver.queueInvalidation(table, 0, IOVA, pages)).toBe(0)
      expect(driver.completeInvalidations()).toBe(0)
    },
    unmap: (table, iova) => expect(driver.unmap(table, 0, iova, 1)).toBe(0),
    invalidate(table, iova) {
      expect(driver.queueInvalidation(table, 0, iova, 1)).toBe(0)
      expect(driver.completeInvalidations()).toBe(0)
    },
    store: (bdf, iova, length, at = 0) => expect(board.devices.get(bdf)!.store(0, iova, at, length)).toBe(0),
    seen(bdf, iova, length) {
      expect(board.devices.get(bdf)!.fetch(0, iova, 0, length)).toBe(0)
      board.memory.fill(CARRIED * PAGE, 0xee, length)
      setup.store(bdf, CARRY, length)
      board.settle()
      return board.memory.read(CARRIED * PAGE, length)
    },
    [Symbol.dispose]: () => board[Symbol.dispose](),
  }
  return setup
}
