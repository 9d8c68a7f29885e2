import * as abi from '@iospace/abi'
import type { Kernel, KernelBuffer } from '@iospace/linux'
import { expect, test } from 'vitest'
import { raw as rawCall } from '../../support/calls.ts'
import { page } from '../../support/raw-frontend.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

type Entry = readonly [op: number, ...registers: number[]]

/** Entries of a multicall, behind one another. */
function entriesIn(buffer: KernelBuffer, entries: readonly Entry[]): KernelBuffer {
  entries.forEach(([op, ...registers], i) => {
    const args = Array.from({ length: 6 }, (_, j) => BigInt(registers[j] ?? 0))
    buffer.writeStruct(abi.multicall_entry, { op: BigInt(op), result: 0n, args }, i * abi.multicall_entry.size)
  })
  return buffer
}

const resultsOf = (buffer: KernelBuffer, count: number): bigint[] =>
  Array.from({ length: count }, (_, i) =>
    BigInt.asIntN(64, buffer.readStruct(abi.multicall_entry, i * abi.multicall_entry.size).result),
  )

const MIB = 1 << 20
const { grant_table_op, multicall } = abi.HYPERCALL

test('a call that would take minutes ends with its domain, and the others do not wait for it (I16)', async () => {
  let elements: KernelBuffer | null = null
  const huge = (kernel: Kernel): void => {
    elements = kernel.memory.allocate(MIB)!
    const count = Math.floor(MIB / abi.gnttab_unmap_grant_ref.size)
    const entry: Entry = [grant_table_op, abi.GNTTABOP.unmap_grant_ref, elements.address(), count]
    const entries = entriesIn(
      kernel.memory.allocate(MIB)!,
      Array.from({ length: 4096 }, () => entry),
    )
    rawCall(kernel, 'multicall', entries.address(), 4096)
  }
  const played = await play({ attacker: async (kernel) => huge(kernel), hangLimit: 5e6 })
  expect(elements).not.toBeNull()
  await expectUnharmed(played, {
    crashes: ['attacker: task attacker/init ran for more than 5 ms of virtual time without waiting'],
  })
})

test('one grant operation of as many elements as memory holds is cut off the same way', async () => {
  const played = await play({
    hangLimit: 1e6,
    attacker: async (kernel) => {
      const elements = kernel.memory.allocate(MIB)!
      const count = Math.floor(MIB / abi.gnttab_map_grant_ref.size)
      for (;;) rawCall(kernel, 'grant_table_op', abi.GNTTABOP.map_grant_ref, elements.address(), count)
    },
  })
  await expectUnharmed(played, {
    crashes: ['attacker: task attacker/init ran for more than 1 ms of virtual time without waiting'],
  })
})

test('a multicall does what its entries do, each for itself; a multicall inside it is refused (multicall.c)', async () => {
  let results: bigint[] = []
  let whole = -1
  const played = await play({
    attacker: async (kernel) => {
      const query = page(kernel)
      query.writeStruct(abi.iommu_query, {
        ...abi.iommu_query.zero(),
        size: abi.iommu_query.size,
        domid: abi.DOMID.SELF,
      })
      const entries = entriesIn(page(kernel), [
        [abi.HYPERCALL.iommu_op, abi.IOMMU_OP.query, query.address()],
        [multicall, 0, 0],
        [99],
        [abi.HYPERCALL.domctl, query.address()],
        [abi.HYPERCALL.xen_version, abi.XENVER.version],
        [abi.HYPERCALL.memory_op, abi.XENMEM.decrease_reservation, 2 ** 43],
        [abi.HYPERCALL.iommu_op, abi.IOMMU_OP.query, 2 ** 43],
      ])
      whole = rawCall(kernel, 'multicall', entries.address(), 7)
      results = resultsOf(entries, 7)
    },
  })
  const { ENOSYS, EACCES, EFAULT } = abi.Errno
  expect(whole).toBe(0)
  expect(results).toEqual([
    0n,
    BigInt(-ENOSYS),
    BigInt(-ENOSYS),
    BigInt(-EACCES),
    BigInt(abi.XEN_VERSION),
    0n,
    BigInt(-EFAULT),
  ])
  await expectUnharmed(played)
})

test('a domain that shuts itself down in the middle of a multicall is taken apart like any other', async () => {
  const played = await play({
    attacker: async (kernel) => {
      const shutdown = page(kernel)
      const send = page(kernel)
      send.write32(0, kernel.events.allocUnbound(Domid.neighbour))
      const entries = entriesIn(page(kernel), [
        [abi.HYPERCALL.event_channel_op, abi.EVTCHNOP.send, send.address()],
        [abi.HYPERCALL.sched_op, abi.SCHEDOP.shutdown, shutdown.address()],
        [abi.HYPERCALL.event_channel_op, abi.EVTCHNOP.send, send.address()],
      ])
      rawCall(kernel, 'multicall', entries.address(), 3)
      await kernel.sleep(1e9)
    },
  })
  expect(played.ended.find(({ name }) => name === 'attacker')?.reason).toBe('poweroff')
  await expectUnharmed(played)
})

test.each([-1, Number.NaN, Infinity, 2 ** 32, 2 ** 53, 1.5])(
  'a count of %d is no reason to fall over',
  async (count) => {
    const results: number[] = []
    const played = await play({
      attacker: async (kernel) => {
        const buffer = page(kernel)
        results.push(rawCall(kernel, 'multicall', buffer.address(), count))
        for (const subop of Object.values(abi.GNTTABOP))
          results.push(rawCall(kernel, 'grant_table_op', subop, buffer.address(), count))
        results.push(rawCall(kernel, 'console_io', abi.CONSOLEIO.write, count, buffer.address()))
      },
    })
    expect(results.every((result) => Number.isInteger(result) && result <= 0)).toBe(true)
    await expectUnharmed(played)
  },
)
