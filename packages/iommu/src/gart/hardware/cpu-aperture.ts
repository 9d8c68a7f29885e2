/**
 * The aperture as CPUs see it: physical addresses where no RAM is, translated as those of devices are, unless DisGartCpu is set. What
 * fails reads all ones and is dropped on a write. It follows the node's registers.
 */
import type { Machine, MmioDevice } from '@iospace/machine'
import type { NodeTranslator } from './translator.ts'

export class CpuAperture implements MmioDevice {
  declare private readonly machine: Machine
  declare private readonly node: NodeTranslator
  #base = 0
  #bytes = 0

  constructor(machine: Machine, node: NodeTranslator) {
    this.machine = machine
    this.node = node
  }

  /** The registers of the node changed. Where another register block is, that one keeps its range. */
  update(): void {
    const { mmio } = this.machine
    const { base, bytes } = this.node.cpuAperture
    if (base === this.#base && bytes === this.#bytes) return
    if (this.#bytes > 0) mmio.unmap(this.#base)
    this.#bytes = bytes > 0 && mmio.free(base, bytes) ? bytes : 0
    this.#base = base
    if (this.#bytes > 0) mmio.map(base, bytes, this)
  }

  read32(offset: number): number {
    const at = this.node.cpuOffset(offset, false)
    return at < 0 ? 0xffff_ffff : this.machine.memory.words[at >>> 2]! >>> 0
  }

  write32(offset: number, value: number): void {
    const at = this.node.cpuOffset(offset, true)
    if (at >= 0) this.machine.memory.words[at >>> 2] = value
  }
}
