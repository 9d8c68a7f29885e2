import {
  FAULT_FLAGS,
  iommu_fault_control,
  IOMMU_OP,
  iommu_query_device,
  DEVICE_STATE,
  START_INFO_PFN,
} from '@iospace/abi'
import type { System } from '@iospace/lab'
import { Command, Config, DmaOutcome } from '@iospace/machine'
import { expect, test } from 'vitest'
import { iommuOp } from '../../support/calls.ts'
import { FaultRing } from '../../support/fault-ring.ts'
import { Rogue } from '../../support/rogue.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

const ROGUE = 0x200
const STORM = 2000
/** Blocked accesses between two moments in which other domains run. */
const BURST = 20

test.each(['a ring that is read', 'a ring that is not read', 'a ring with a nonsense index', 'no ring'] as const)(
  'a storm of faults is cut off, with %s (I20)',
  async (kind) => {
    const seen: Record<string, unknown> = {}
    let system!: System
    const played = await play({
      rogue: true,
      prepare: (built) => (system = built),
      attacker: async (kernel) => {
        const rogue = await Rogue.bind(kernel)
        const ring = kind === 'no ring' ? null : FaultRing.open(kernel)
        const target = system.hypervisor.oracle.addressOf(Domid.dom0, START_INFO_PFN)
        const outcomes = new Map<number, number>()
        const faults = []
        for (let i = 0; i < STORM; i++) {
          const outcome = rogue.read(target, new Uint8Array(4))
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
          if (i % BURST !== BURST - 1) continue
          if (kind === 'a ring with a nonsense index')
            ring!.control.write32(iommu_fault_control.offsets.consumer, 0x8000_0000 + i)
          // Time passes, but no quiet: a device that rests is forgiven.
          await kernel.sleep(10e3)
          if (kind === 'a ring that is read') faults.push(...ring!.take())
        }
        seen['moved'] = [...outcomes.keys()].some((outcome) => outcome > 0)
        seen['blocked'] = outcomes.get(DmaOutcome.blocked)! < 400
        seen['then off the bus'] = outcomes.get(DmaOutcome.masterDisabled)! > STORM - 400
        seen['state'] = iommuOp(kernel, IOMMU_OP.query_device, iommu_query_device, { device: ROGUE }).value.state
        kernel.platform.configWrite(ROGUE, Config.command, 2, Command.memory | Command.busMaster)
        seen['bus mastering'] = kernel.platform.configRead(ROGUE, Config.command, 2) & Command.busMaster
        seen['after all'] = rogue.read(target, new Uint8Array(4))
        if (kind === 'a ring that is read') {
          seen['reports'] = faults.length
          seen['the last says that more were not told'] = (faults.at(-1)!.flags & FAULT_FLAGS.REPEATED) !== 0
        }
        if (ring !== null) seen['in the ring'] = ring.producer <= 64
      },
    })
    expect(seen).toEqual({
      moved: false,
      blocked: true,
      'then off the bus': true,
      state: DEVICE_STATE.FENCED,
      'bus mastering': 0,
      'after all': DmaOutcome.masterDisabled,
      ...(kind === 'a ring that is read' ? { reports: 64, 'the last says that more were not told': true } : {}),
      ...(kind === 'no ring' ? {} : { 'in the ring': true }),
    })
    await expectUnharmed(played)
  },
)
