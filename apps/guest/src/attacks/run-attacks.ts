/** Everything that a guest with a rogue device can try, one after the other, each after a legal access that must succeed. */
import type { Kernel } from '@iospace/linux'
import { attackMemory, FAULT_TIME, ownMemoryWorks, roundTrip, skipped, type AttackRow, type Oracle } from './attack.ts'
import { BorrowedPage } from './borrowed-page.ts'
import { FaultRing } from './fault-ring.ts'
import { rogueDriver, type Rogue } from './rogue-driver.ts'

/** An interrupt message, and the vector that it becomes. */
interface Message {
  readonly address: number
  readonly data: number
  readonly vector: number
}

/** Where it hurts, by machine address; null where a machine has no such thing. */
export interface Targets {
  readonly dom0Page: number
  readonly hypervisorScratch: number
  readonly rootTable: number | null
  /** Of a device that is somebody else's. */
  readonly interrupt: Message | null
}

/** Host-side knowledge that an attacker would have to guess. */
export interface AttackPorts {
  readonly targets: () => Targets
  readonly oracle: Oracle
}

/** Where a message goes that nobody remaps: to the first CPU, as its data says. */
const PLAIN_MESSAGE = 0xfee0_0000
const FORGED_INTERRUPT = 'forged interrupt'
/** Virtual ns in which an interrupt arrives. */
const INTERRUPT_TIME = 1e6

/** Attacks; empty when this domain has no rogue device. Tasks only. */
export async function runAttacks(kernel: Kernel, { targets, oracle }: AttackPorts): Promise<AttackRow[]> {
  const rogues: Rogue[] = []
  await kernel.pci.register(rogueDriver((found) => rogues.push(found)))
  const [rogue] = rogues
  if (rogue === undefined) return []
  const ring = FaultRing.open(kernel)
  const { dom0Page, hypervisorScratch, rootTable, interrupt } = targets()
  const memory = (name: string, address: number, control: boolean): Promise<AttackRow> =>
    attackMemory(kernel, rogue, oracle, ring, name, address, control)
  const rows = [
    await memory('dom0 kernel page', dom0Page, ownMemoryWorks(kernel, rogue)),
    await memory('hypervisor scratch page', hypervisorScratch, ownMemoryWorks(kernel, rogue)),
    rootTable === null
      ? skipped('IOMMU root table', 'there is no IOMMU')
      : await memory('IOMMU root table', rootTable, ownMemoryWorks(kernel, rogue)),
  ]
  const page = await BorrowedPage.open(kernel)
  if (page === null) rows.push(skipped('ended grant', 'nobody lent a page'))
  else {
    const control = roundTrip(rogue, page.address, page.window)
    await page.giveBack()
    rows.push(await memory('ended grant', page.address, control))
  }
  rows.push(
    interrupt === null
      ? skipped(FORGED_INTERRUPT, 'nobody has the interrupt')
      : await forgeInterrupt(kernel, rogue, oracle, ring, interrupt),
  )
  ring?.close()
  return rows
}

/**
 * Raises the interrupt of another domain's device, by the very message that this device writes and by a plain one with its vector. The
 * legal access: the device's own interrupt arrives.
 */
async function forgeInterrupt(
  kernel: Kernel,
  rogue: Rogue,
  oracle: Oracle,
  ring: FaultRing | null,
  { address, data, vector }: Message,
): Promise<AttackRow> {
  const listening = rogue.listen() === 0
  rogue.interrupting = listening
  ownMemoryWorks(kernel, rogue)
  await kernel.sleep(INTERRUPT_TIME)
  rogue.interrupting = false
  const before = oracle.interrupts(vector)
  const firstFault = ring?.faults.length ?? 0
  const copied = rogue.message(address, data)
  const plain = rogue.message(PLAIN_MESSAGE, vector)
  const arrived = oracle.interrupts(vector) - before
  await kernel.sleep(FAULT_TIME)
  return {
    name: FORGED_INTERRUPT,
    attempted: true,
    reachedHardware: copied !== 0 && plain !== 0,
    blocked: arrived === 0,
    bytesChanged: 0,
    control: rogue.interrupts > 0,
    faultSeen: ring !== null && ring.faults.length > firstFault,
    restored: true,
  }
}
