import * as abi from '@iospace/abi'
import { test } from 'vitest'
import { raw as rawCall } from '../../support/calls.ts'
import { play } from '../../support/scene.ts'
test('probe', { timeout: 300000 }, async () => {
  const t0 = performance.now()
  const played = await play({
    attacker: async (kernel) => {
      const big = kernel.memory.allocate(1 << 20)!
      const entries = kernel.memory.allocate(64 * 64)!
      for (const [n, op, sub, count] of [[1, 'grant_table_op', 1, 40000], [8, 'grant_table_op', 1, 40000], [64, 'grant_table_op', 1, 40000], [64, 'grant_table_op', 5, 20000], [64, 'memory_op', 1, 100000]] as const) {
        for (let i = 0; i < n; i++) entries.writeStruct(abi.multicall_entry, { op: BigInt(abi.HYPERCALL[op]), result: 0n, args: [BigInt(sub), BigInt(big.address()), BigInt(count), 0n, 0n, 0n] }, i * 64)
        const t = performance.now(), v = kernel.now()
        const r = rawCall(kernel, 'multicall', entries.address(), n)
        console.log(entries.readStruct(abi.multicall_entry, 0), op, sub, n, r, performance.now() - t, 'ms host', (kernel.now() - v) / 1e6, 'ms virtual')
      }
    },
  })
  console.log(played.crashes, performance.now() - t0)
})
