/**
 * The GART of an Opteron machine: one northbridge per node, each with registers, TLB and writes on their way of its own. What sits
 * behind a node goes through that node's aperture, so all of them must be programmed alike.
 */
import type { DmaTranslator, Machine } from '@iospace/machine'
import { ConfigError } from '@iospace/wire'
import type { StaleHitHandler } from '../stale-hit.ts'
import { MachineTables, type TableMemory } from '../table-memory.ts'
import { CpuAperture } from './hardware/cpu-aperture.ts'
import { Northbridge } from './hardware/northbridge.ts'
import type { GartPersonality } from './personalities.ts'
import { MAX_NODES } from './spec/northbridge.ts'
import { ApertureControl } from './spec/registers.ts'

export interface GartHardwareOptions {
  /** Nodes with a northbridge each, 1…8. Default: 1. */
  readonly nodes?: number
  /** The node that bus `bus` hangs on. Default: buses are dealt out in turn. */
  readonly nodeOfBus?: (bus: number) => number
  /** How tables are read; default: the board's memory. */
  readonly tables?: TableMemory
}

const BUSES = 256

export class GartHardware implements DmaTranslator {
  declare readonly personality: GartPersonality
  /** Function 3 of each node; for the board to put on its root bus. */
  declare readonly nodes: readonly Northbridge[]
  /** Called when it changes whether table walks look into CPU caches, which they do unless some node has DisGartTblWlkPrb set. */
  onCoherent: (coherent: boolean) => void = () => {}
  declare private readonly only: DmaTranslator | null
  declare private readonly byBus: readonly DmaTranslator[]
  #coherent = true

  constructor(
    machine: Machine,
    personality: GartPersonality,
    {
      nodes = 1,
      nodeOfBus = (bus) => bus % nodes,
      tables = new MachineTables(machine.memory),
    }: GartHardwareOptions = {},
  ) {
    if (!Number.isInteger(nodes) || nodes < 1 || nodes > MAX_NODES)
      throw new ConfigError('GART nodes', nodes, `is not between 1 and ${MAX_NODES}`)
    this.personality = personality
    this.nodes = Array.from({ length: nodes }, () => new Northbridge(machine, personality, tables))
    this.only = nodes === 1 ? this.nodes[0]!.translator : null
    this.byBus = Array.from({ length: BUSES }, (_, bus) => this.#node(nodeOfBus(bus)).translator)
    // The processor that boots sits on node 0.
    const aperture = new CpuAperture(machine, this.nodes[0]!.translator)
    for (const node of this.nodes) {
      node.onConfigured = () => {
        aperture.update()
        this.#walksChanged()
      }
    }
  }

  get translator(): this {
    return this
  }

  get onStaleHit(): StaleHitHandler | null {
    return this.nodes[0]!.translator.onStaleHit
  }

  set onStaleHit(handler: StaleHitHandler | null) {
    for (const { translator } of this.nodes) translator.onStaleHit = handler
  }

  dmaRead(requester: number, hi: number, lo: number, at: number, length: number): number {
    return (this.only ?? this.byBus[requester >>> 8]!).dmaRead(requester, hi, lo, at, length)
  }

  dmaWrite(requester: number, hi: number, lo: number, at: number, length: number): number {
    return (this.only ?? this.byBus[requester >>> 8]!).dmaWrite(requester, hi, lo, at, length)
  }

  /** The machine went to sleep and wakes up: every register and every translation is lost, the memory is not. */
  suspend(): void {
    for (const node of this.nodes) node.reset()
  }

  #node(index: number): Northbridge {
    const node = this.nodes[index]
    if (node === undefined) throw new ConfigError('GART node', index, `is not below ${this.nodes.length}`)
    return node
  }

  #walksChanged(): void {
    const coherent = this.nodes.every((node) => (node.apertureControl & ApertureControl.disableWalkProbe) === 0)
    if (coherent === this.#coherent) return
    this.#coherent = coherent
    this.onCoherent(coherent)
  }
}
