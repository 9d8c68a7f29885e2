import type { DomainView } from '@iospace/hypervisor'
import type { Platform } from '@iospace/linux'

/** A domain's view as the platform of a kernel. The kernel never sees that the machine below it is a hypervisor's model. */
export function domainPlatform(view: DomainView, name: string): Platform {
  return {
    name,
    tasks: view.tasks,
    memory: view.memory,
    hypercall: (nr, a1, a2, a3, a4, a5) => view.hypercall(nr, a1, a2, a3, a4, a5),
    read32: (address) => view.read32(address),
    write32: (address, value) => view.write32(address, value),
    configRead: (sbdf, offset, size) => view.configRead(sbdf, offset, size),
    configWrite: (sbdf, offset, size, value) => view.configWrite(sbdf, offset, size, value),
    devices: () => view.devices(),
    onUpcall: (handler) => view.onUpcall(handler),
    now: () => view.now(),
    charge: (kind, times) => view.charge(kind, times),
    relax: () => view.relax(),
  }
}
