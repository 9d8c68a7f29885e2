/**
 * What the host knows and no domain does: the bytes of machine memory as they are, and where things lie in it. For attacks, which aim at
 * what they could only guess, and for tests, which look whether anything was hit.
 */
import { START_INFO_PFN } from '@iospace/abi'
import { BoundsError, ConfigError } from '@iospace/wire'
import type { System } from './system.ts'

/** Where it would hurt, by machine address. */
export interface AttackTargets {
  /** A page of dom0's kernel. */
  readonly dom0Page: number
  /** The page that hypercall arguments are copied into. */
  readonly hypervisorScratch: number
  /** Null without an IOMMU. */
  readonly rootTable: number | null
  /** The interrupt message of the first NVMe controller, and the vector that it becomes; null while nobody has that interrupt. */
  readonly interrupt: { readonly address: number; readonly data: number; readonly vector: number } | null
}

export class HostOracle {
  readonly #system: System

  /** @internal */
  constructor(system: System) {
    this.#system = system
  }

  /** A copy of `length` bytes at a machine address. They do not cross a page. BoundsError where there is no RAM. */
  snapshot(address: number, length: number): Uint8Array {
    const at = this.#at(address, length)
    return this.#system.machine.memory.bytes.slice(at, at + length)
  }

  /** Writes bytes at a machine address, as nobody in the machine could. */
  restore(address: number, bytes: Uint8Array): void {
    this.#system.machine.memory.bytes.set(bytes, this.#at(address, bytes.length))
  }

  /** Interrupt messages with `vector` since power-on. */
  interrupts(vector: number): number {
    return this.#system.machine.interrupts.received[vector] ?? 0
  }

  targets(): AttackTargets {
    const { oracle } = this.#system.hypervisor
    const [root] = oracle.iommuFrames()
    return {
      dom0Page: oracle.addressOf(0, START_INFO_PFN),
      hypervisorScratch: oracle.scratchAddress(),
      rootTable: root === undefined ? null : root * 4096,
      interrupt: this.#nvmeInterrupt(),
    }
  }

  #nvmeInterrupt(): AttackTargets['interrupt'] {
    const [controller] = this.#system.controllers()
    if (controller === undefined) throw new ConfigError('nvme', null, 'is not on this board')
    // Its driver domain may be dead.
    return this.#system.hypervisor.oracle.interruptOf(controller.bdf) ?? null
  }

  #at(address: number, length: number): number {
    const at = this.#system.machine.memory.offset(Math.floor(address / 2 ** 32), address % 2 ** 32)
    if (at < 0 || (address % 4096) + length > 4096) throw new BoundsError('machine memory', address, length, 4096)
    return at
  }
}
