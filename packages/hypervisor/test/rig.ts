/**
 * A machine with a hypervisor, and domains whose “kernel” is the test: it writes bytes into guest memory and calls the gate. A device that does
 * DMA on command sits behind a root port each.
 */
import { Hypervisor, type DomainView } from '../src/index.ts'
import { HYPERCALL } from '@iospace/abi'
import { iommuModels } from '@iospace/iommu/hardware'
import { Machine, PciFunction } from '@iospace/machine'
import type { Fields, Struct, ValueOf } from '@iospace/wire'
import type { IommuDriver } from '@iospace/iommu/driver'

const BOARD_BYTES = 1 << 20

/** A function that reads and writes where it is told; its buffer is 16 pages of board memory. */
export class TestDevice extends PciFunction {
  readonly at: number
  readonly #machine: Machine
  constructor(machine: Machine, { express = true }: { readonly express?: boolean } = {}) {
    super({
      vendorId: 0x1234,
      deviceId: 0x5678,
      classCode: 0xff0000,
      msi: true,
      ...(express ? { express: { functionReset: true } } : {}),
      bars: [
        {
          index: 0,
          bytes: 4096,
          wide: false,
          registers: { read32: (offset) => offset ^ 0x5a5a5a5a, write32: () => undefined },
        },
      ],
    })
    this.#machine = machine
    this.at = machine.memory.boardMemory(16 * 4096)
  }
  protected override onReset(): void {
    this.#machine.memory.fill(this.at, 0, 16 * 4096)
  }
  /** Byte at bus address `address`, or the negative DmaOutcome. */
  read(address: number): number {
    const outcome = this.dmaRead(Math.floor(address / 2 ** 32), address | 0, this.at, 1)
    return outcome < 0 ? outcome : this.#machine.memory.bytes[this.at]!
  }
  /** Writes one byte; the DmaOutcome. */
  write(address: number, value: number): number {
    this.#machine.memory.bytes[this.at] = value
    return this.dmaWrite(Math.floor(address / 2 ** 32), address | 0, this.at, 1)
  }
}

export interface RigOptions {
  /** Default: vtd. */
  readonly iommu?: boolean | string
  readonly seed?: number
  readonly lowFrames?: number
  readonly highFrames?: number
  readonly dom0Pages?: number
  readonly devices?: number
  /** More devices, put onto the board behind the others. */
  readonly before?: (machine: Machine) => TestDevice[]
  /** Called at the boot of each domain. */
  readonly boot?: (domid: number) => void
  readonly wrap?: (driver: IommuDriver) => IommuDriver
  /** Puts the unit into the board; default: the model's own way. */
  readonly install?: (machine: Machine) => void
}

/** A board whose memory all lies where a Calgary's tables reach, with room for them. */
export const CALGARY_BOARD = { lowFrames: 8192, highFrames: 0 } as const

export interface Rig {
  readonly machine: Machine
  readonly hypervisor: Hypervisor
  readonly dom0: Guest
  readonly devices: readonly TestDevice[]
  /** Guests by domid, as their kernels were started. */
  readonly booted: Map<number, DomainView>
  readonly crashes: { domid: number; error: unknown }[]
  readonly consoles: string[]
}

export function rig(options: RigOptions = {}): Rig {
  const {
    iommu = true,
    seed = 1,
    lowFrames = 2048,
    highFrames = 2048,
    dom0Pages = 256,
    devices: count = 2,
    wrap,
    boot,
    before,
    install,
  } = options
  const machine = new Machine({
    memory: { lowFrames, highFrames, boardBytes: BOARD_BYTES },
    seed,
    turn: () => new Promise((resolve) => setImmediate(resolve)),
  })
  const devices: TestDevice[] = []
  for (let i = 0; i < count; i++) {
    const bus = machine.pci.addBridge(0, (i + 1) << 3, 'root-port')
    devices.push(machine.pci.add(bus, 0, new TestDevice(machine)) as TestDevice)
  }
  if (before !== undefined) devices.push(...before(machine))
  const model = iommuModels[typeof iommu === 'string' ? iommu : 'vtd']!
  if (install !== undefined) install(machine)
  else if (iommu !== false) model.install(machine)
  const booted = new Map<number, DomainView>()
  const crashes: Rig['crashes'] = []
  const consoles: string[] = []
  const hypervisor = new Hypervisor({
    machine,
    iommu:
      iommu !== false
        ? (pages) => (wrap === undefined ? model.driver(machine, pages) : wrap(model.driver(machine, pages)))
        : null,
    boot: (view) => {
      booted.set(view.domid, view)
      boot?.(view.domid)
    },
    onCrash: (domid, error) => crashes.push({ domid, error }),
    console: (domid, text) => consoles.push(`${domid}: ${new TextDecoder().decode(text)}`),
  })
  hypervisor.createDom0({ pages: dom0Pages, commandLine: 'init=test' })
  return { machine, hypervisor, dom0: new Guest(booted.get(0)!), devices, booted, crashes, consoles }
}

/** Pages of a guest that the tests use for arguments and lists: the first ones behind start_info. */
const ARGUMENT_PFN = 2
const LIST_PFN = 4

/** The kernel of a test: arguments go to fixed pages as bytes, answers are read from there. */
export class Guest {
  readonly view: DomainView
  readonly argument = ARGUMENT_PFN * 4096
  readonly list = LIST_PFN * 4096

  constructor(view: DomainView) {
    this.view = view
  }

  get domid(): number {
    return this.view.domid
  }

  /** Flat offset of a guest pointer. */
  offset(pointer: number): number {
    const frame = this.view.memory.frameOffset(Math.floor(pointer / 4096))
    if (frame < 0) throw new Error(`nothing at guest pointer 0x${pointer.toString(16)}`)
    return frame + (pointer % 4096)
  }

  put<F extends Fields>(struct: Struct<F>, value: ValueOf<F>, pointer = this.argument): number {
    const bytes = struct.encode(value)
    for (let i = 0; i < bytes.length; i++) this.view.memory.bytes[this.offset(pointer + i)] = bytes[i]!
    return pointer
  }

  get<F extends Fields>(struct: Struct<F>, pointer = this.argument): ValueOf<F> {
    const bytes = new Uint8Array(struct.size)
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.view.memory.bytes[this.offset(pointer + i)]!
    return struct.decode(bytes)
  }

  putU64(values: readonly number[], pointer = this.list): number {
    values.forEach((value, i) => this.view.memory.view.setBigUint64(this.offset(pointer + 8 * i), BigInt(value), true))
    return pointer
  }

  getU64(count: number, pointer = this.list): number[] {
    return Array.from({ length: count }, (_, i) =>
      Number(this.view.memory.view.getBigUint64(this.offset(pointer + 8 * i), true)),
    )
  }

  call(nr: number, a1?: number, a2?: number, a3?: number): number {
    return this.view.hypercall(nr, a1, a2, a3)
  }

  /** A hypercall with one struct: its result and the struct as it came back. */
  op<F extends Fields>(
    nr: keyof typeof HYPERCALL,
    sub: number,
    struct: Struct<F>,
    value: Partial<ValueOf<F>>,
  ): { rc: number; out: ValueOf<F> } {
    const pointer = this.put(struct, { ...struct.zero(), ...value })
    const rc = nr === 'domctl' ? this.call(HYPERCALL[nr], pointer) : this.call(HYPERCALL[nr], sub, pointer, 1)
    return { rc, out: this.get(struct) }
  }

  mfn(pfn: number): number {
    return this.view.memory.machineFrame(pfn)
  }

  poke(pfn: number, at: number, value: number): void {
    this.view.memory.bytes[this.offset(pfn * 4096 + at)] = value
  }

  peek(pfn: number, at: number): number {
    return this.view.memory.bytes[this.offset(pfn * 4096 + at)]!
  }
}
