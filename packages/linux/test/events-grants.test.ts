import { GTF, shared_info } from '@iospace/abi'
import { expect, test } from 'vitest'
import { bootKernel } from '../src/index.ts'
import { ToyHypervisor } from './support/toy-hypervisor.ts'

function pair(): { xen: ToyHypervisor; a: ReturnType<typeof bootKernel>; b: ReturnType<typeof bootKernel> } {
  const xen = new ToyHypervisor()
  const a = bootKernel(xen.create('a', 512, 'init=x').platform)
  const b = bootKernel(xen.create('b', 512).platform)
  return { xen, a, b }
}

test("start_info tells the kernel its memory and command line; the pages of start_info are nobody's to allocate", () => {
  const { a } = pair()
  expect(a.nrPages).toBe(512)
  expect(a.commandLine.init).toBe('x')
  const seen = new Set<number>()
  for (let pfn = a.memory.pages.allocate(0); pfn >= 0; pfn = a.memory.pages.allocate(0)) seen.add(pfn)
  expect(seen.has(0)).toBe(false)
  expect(seen.has(1)).toBe(false)
})

test('an event reaches the handler of the other end; one sent while masked is delivered at unmask', async () => {
  const { xen, a, b } = pair()
  const port = a.events.allocUnbound(1)
  const other = b.events.bindInterdomain(0, port)
  let events = 0
  a.events.handle(port, () => events++)
  expect(b.events.send(other)).toBe(0)
  await xen.run()
  expect(events).toBe(1)
  a.events.mask(port)
  b.events.send(other)
  b.events.send(other)
  await xen.run()
  expect(events).toBe(1)
  a.events.unmask(port)
  await xen.run()
  expect(events).toBe(2)
  expect(a.events.close(port)).toBe(0)
  expect(b.events.send(other)).toBeLessThan(0)
})

test('events of many ports in one upcall are each handled once, in the order of ports (2-level bitmap)', async () => {
  const { xen, a, b } = pair()
  const seen: number[] = []
  const ports = Array.from({ length: 130 }, () => a.events.allocUnbound(1))
  const others = ports.map((port) => b.events.bindInterdomain(0, port))
  for (const port of ports) a.events.handle(port, (which) => seen.push(which))
  for (const other of [...others].reverse()) b.events.send(other)
  await xen.run()
  expect(seen).toEqual(ports)
})

test('an event of a port without a handler masks the port instead of coming for ever', async () => {
  const { xen, a } = pair()
  const toy = xen.domains[0]!
  const word = (toy.sharedInfo * 4096 + shared_info.offsets.evtchn_mask) >> 2
  xen.machine.memory.words[word]! &= ~(1 << 9)
  xen.raise(toy, 9)
  await xen.run()
  expect(xen.machine.memory.words[word]! & (1 << 9)).not.toBe(0)
  expect(a.events.send(9)).toBeLessThan(0)
})

test('a grant is published with its frame before its type, ended only when nobody uses it, and its reference comes back (grant_table.h)', () => {
  const { xen, a } = pair()
  const [toyA, toyB] = xen.domains
  const page = a.memory.allocate(4096)!
  const free = a.grants.freeEntries
  const ref = a.grants.grantAccess(1, page.pfn, true)
  expect(ref).toBeGreaterThanOrEqual(8)
  expect(xen.grantFlags(toyA!, ref)).toBe(GTF.permit_access | GTF.readonly)
  const entry = toyA!.grantFrames[0]! * 4096 + ref * 8
  expect(xen.machine.memory.view.getUint16(entry + 2, true)).toBe(toyB!.domid)
  expect(xen.machine.memory.view.getUint32(entry + 4, true)).toBe(a.platform.memory.machineFrame(page.pfn))
  xen.machine.memory.view.setUint16(entry, GTF.permit_access | GTF.readonly | GTF.reading, true)
  expect(a.grants.inUse(ref)).toBe(true)
  expect(a.grants.endAccess(ref)).toBe(false)
  expect(xen.grantFlags(toyA!, ref) & GTF.type_mask).toBe(GTF.permit_access)
  xen.machine.memory.view.setUint16(entry, GTF.permit_access | GTF.readonly, true)
  expect(a.grants.endAccess(ref)).toBe(true)
  expect(xen.grantFlags(toyA!, ref)).toBe(0)
  expect(a.grants.freeEntries).toBe(free)
  expect(() => a.grants.endAccess(ref)).toThrow(/is not granted/)
})

test('a full table grants nothing more', () => {
  const { a } = pair()
  const page = a.memory.allocate(4096)!
  const total = a.grants.freeEntries
  for (let i = 0; i < total; i++) expect(a.grants.grantAccess(1, page.pfn, false)).toBeGreaterThanOrEqual(8)
  expect(a.grants.grantAccess(1, page.pfn, false)).toBe(-1)
})
