import * as abi from '@iospace/abi'
import { expect, test } from 'vitest'
import { call, raw as rawCall } from '../../support/calls.ts'
import { page } from '../../support/raw-frontend.ts'
import { Domid, play } from '../../support/scene.ts'
import { expectUnharmed } from '../../support/unharmed.ts'

/** The xenstore connection: the first port of every domain. */
const STORE_PORT = 1
const OTHERS = [Domid.dom0, Domid.driver, Domid.neighbour]

test('a guest sends where it is connected and binds where it is let (event_channel.h; I17)', async () => {
  const bound: string[] = []
  const refused = new Set<string>()
  const answers: Record<string, string | number> = {}
  const played = await play({
    rogue: true,
    attacker: async (kernel) => {
      await kernel.sleep(1.2e6)
      const { events } = kernel
      const name = (result: number): string | number => (result < 0 ? (abi.errnoName(result) ?? result) : result)
      for (const dom of [...OTHERS, 77, abi.DOMID.IO, abi.DOMID.XEN, 0xffff]) {
        for (let port = 0; port < 200; port++) {
          const result = events.bindInterdomain(dom, port)
          if (result >= 0) bound.push(`${port} of ${dom}`)
          else refused.add(String(name(result)))
        }
        await kernel.sleep(1000)
      }
      for (const port of [0, 5, 63, 64, 4095, 4096, 0x7fff_ffff, 0xffff_ffff])
        answers[`send ${port}`] = name(events.send(port))
      answers['send to a virq'] = name(events.send(events.bindVirq(abi.VIRQ.IOMMU_FAULT)))
      answers['the same virq again'] = name(events.bindVirq(abi.VIRQ.IOMMU_FAULT))
      answers['no such virq'] = name(events.bindVirq(24))
      answers['a virq of dom0, which never comes'] = events.bindVirq(abi.VIRQ.DOM_EXC) > 0 ? 'bound' : 'refused'
      for (const pirq of [0, 16, 17, 255, 0xffff_ffff]) answers[`pirq ${pirq}`] = name(events.bindPirq(pirq))
      const mine = events.allocUnbound(Domid.neighbour)
      answers['close'] = name(events.close(mine))
      answers['close twice'] = name(events.close(mine))
      answers['send to a closed one'] = name(events.send(mine))
      answers['bind to itself'] =
        events.bindInterdomain(Domid.attacker, events.allocUnbound(Domid.attacker)) > 0 ? 'bound' : 'refused'
      // Poll and multicall with numbers of their own.
      const poll = { ports: BigInt(page(kernel).address()), nr_ports: 129, timeout: 0n }
      answers['poll 129 ports'] = name(call(kernel, 'sched_op', abi.SCHEDOP.poll, abi.sched_poll, poll).result)
      answers['poll port 0'] = name(
        call(kernel, 'sched_op', abi.SCHEDOP.poll, abi.sched_poll, { ...poll, nr_ports: 1 }).result,
      )
      answers['no such operation'] = name(rawCall(kernel, 'event_channel_op', 99, page(kernel).address()))
      const status = call(kernel, 'event_channel_op', abi.EVTCHNOP.status, abi.evtchn_status, {
        dom: abi.DOMID.SELF,
        port: STORE_PORT,
      })
      answers['its own status'] = status.value.status
    },
  })
  expect(bound).toEqual([])
  expect([...refused].sort()).toEqual(['EINVAL', 'ESRCH'])
  expect(answers).toEqual({
    ...Object.fromEntries(
      [0, 5, 63, 64, 4095, 4096, 0x7fff_ffff, 0xffff_ffff].map((port) => [`send ${port}`, 'EINVAL']),
    ),
    'send to a virq': 'EINVAL',
    'the same virq again': 'EEXIST',
    'no such virq': 'EINVAL',
    'a virq of dom0, which never comes': 'bound',
    ...Object.fromEntries([0, 16, 17, 255, 0xffff_ffff].map((pirq) => [`pirq ${pirq}`, 'EINVAL'])),
    close: 0,
    'close twice': 'EINVAL',
    'send to a closed one': 'EINVAL',
    'bind to itself': 'bound',
    'poll 129 ports': 'EINVAL',
    'poll port 0': 'EINVAL',
    'no such operation': 'ENOSYS',
    'its own status': abi.EVTCHNSTAT.interdomain,
  })
  await expectUnharmed(played)
})
