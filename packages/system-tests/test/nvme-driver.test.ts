/** The NVMe driver over the real controller on a bare board, when the controller does not answer, and when the kernel stops. */
import {
  earlyFlash,
  IOSPACE_VENDOR,
  type NvmeLatency,
  MemoryBlockStore,
  NvmeController,
  NVME_BOARD_BYTES,
} from '@iospace/devices'
import {
  bareMetal,
  BlockOp,
  BlockRequest,
  BlockStatus,
  bootKernel,
  nvmeDriver,
  submit,
  type BlockDevice,
  type Kernel,
  type Platform,
} from '@iospace/linux'
import { Command, Config, Machine } from '@iospace/machine'
import { describe, expect, test } from 'vitest'
import { noise } from '../support/scene.ts'

const SBDF = 0x08
const DISK = 'nvme0n1'
/** NVMe 1.4 section 3.1: Controller Configuration and Status. */
const CC = 0x14
const CSTS = 0x1c
const ENABLE = 1
const SHN = 3 << 14
const SHST_COMPLETE = 2 << 2
const MSI = 0x05
const IO_TIMEOUT = 30e9
const ADMIN_TIMEOUT = 60e9

interface Rig {
  readonly machine: Machine
  readonly kernel: Kernel
  readonly store: MemoryBlockStore
  /** Values written to CC, and what CSTS then said when it was read last before the next. */
  readonly history: readonly string[]
  readonly log: readonly string[]
  run(body: () => Promise<void>): Promise<void>
  /** A register of the controller, seen from the board. */
  read(offset: number): number
  busMaster(): boolean
}

/** `between`: what the board does between the kernel and the controller. */
function rig(
  between: (platform: Platform) => Partial<Platform> = () => ({}),
  commandLine = 'iommu=off',
  latency: NvmeLatency = earlyFlash,
): Rig {
  const machine = new Machine({
    memory: { lowFrames: 4096, highFrames: 0, boardBytes: NVME_BOARD_BYTES },
    seed: 1,
    turn: () => new Promise((resolve) => setImmediate(resolve)),
  })
  const store = new MemoryBlockStore(noise(1 << 20))
  machine.pci.add(0, SBDF, new NvmeController({ machine, store, latency }))
  const bar = (half: number): number => machine.pci.configRead(SBDF, Config.bar0 + half, 4)
  const at = bar(0) - (bar(0) % 16) + bar(4) * 2 ** 32
  const history: string[] = []
  const crashes: unknown[] = []
  const tasks = machine.scheduler.group('bare', (error) => crashes.push(error))
  const metal = bareMetal(machine, tasks)
  const watched: Platform = {
    ...metal,
    write32: (address, value) => {
      if (address === at + CC) history.push(value & SHN ? 'shutdown' : value & ENABLE ? 'enable' : 'disable')
      metal.write32(address, value)
    },
    read32: (address) => {
      const value = metal.read32(address)
      if (address === at + CSTS && (value & SHST_COMPLETE) !== 0 && history.at(-1) === 'shutdown')
        history.push('shut down')
      return value
    },
  }
  const platform = { ...watched, ...between(watched) }
  const kernel = bootKernel(platform, { commandLine, pages: platform.memory.pages })
  const log: string[] = []
  kernel.log = (text) => void log.push(text)
  return {
    machine,
    kernel,
    store,
    history,
    log,
    run: async (body) => {
      kernel.spawn('test', body)
      const outcome = await machine.scheduler.run()
      expect([crashes, outcome]).toEqual([[], { kind: 'finished' }])
    },
    read: (offset) => machine.mmio.read32(at + offset),
    busMaster: () => (machine.pci.configRead(SBDF, Config.command, 2) & Command.busMaster) !== 0,
  }
}

/** A request for the first page of `disk`. */
function request(kernel: Kernel, op: number = BlockOp.read): BlockRequest {
  const made = new BlockRequest(1, () => undefined)
  made.op = op
  made.list.addBuffer(kernel.memory.allocate(4096)!)
  return made
}

async function disk(kernel: Kernel): Promise<BlockDevice> {
  expect((await kernel.pci.register(nvmeDriver)).map(({ vendorId }) => vendorId)).toEqual([IOSPACE_VENDOR])
  return kernel.block.get(DISK)!
}

const setBusMaster = ({ pci }: Machine, on: boolean): void => {
  const command = pci.configRead(SBDF, Config.command, 2)
  pci.configWrite(SBDF, Config.command, 2, on ? command | Command.busMaster : command & ~Command.busMaster)
}

function capability({ pci }: Machine, id: number): number {
  let at = pci.configRead(SBDF, Config.capabilities, 1)
  while (pci.configRead(SBDF, at, 1) !== id) at = pci.configRead(SBDF, at + 1, 1)
  return at
}

describe('a controller that does not answer', () => {
  test('a command that is never answered: 30 s later the controller is stopped, then every request ends with an error (nvme_timeout)', async () => {
    const { machine, kernel, log, run, read } = rig()
    await run(async () => {
      const nvme = await disk(kernel)
      expect(await submit(kernel, nvme, request(kernel))).toBe(BlockStatus.ok)
      // The bus is taken from it behind the driver's back: it cannot fetch the command that the doorbell tells of.
      setBusMaster(machine, false)
      const since = kernel.now()
      const statuses: number[] = []
      let stopped: boolean[] = []
      const queue = kernel.queue('both answers')
      for (let i = 0; i < 2; i++) {
        const each = request(kernel)
        each.done = ({ status }) => {
          // Memory is nobody's again once a request is answered, so nothing may reach it any more.
          stopped.push((read(CC) & ENABLE) === 0 && (read(CSTS) & 1) === 0)
          statuses.push(status)
          queue.wake()
        }
        nvme.queue(each)
      }
      nvme.commit()
      while (statuses.length < 2) await queue.wait()
      expect(statuses).toEqual([BlockStatus.ioError, BlockStatus.ioError])
      expect(stopped).toEqual([true, true])
      expect(kernel.now() - since).toBeGreaterThanOrEqual(IO_TIMEOUT)
      expect(kernel.now() - since).toBeLessThan(IO_TIMEOUT + 1e9)
      stopped = []
      expect(log).toEqual([`${DISK}: no answer within 30 s, giving the controller up`])
      // From now on at once, whatever the controller would do.
      setBusMaster(machine, true)
      const again = kernel.now()
      expect(await submit(kernel, nvme, request(kernel))).toBe(BlockStatus.ioError)
      expect(await submit(kernel, nvme, request(kernel, BlockOp.flush))).toBe(BlockStatus.ioError)
      expect(kernel.now() - again).toBeLessThan(1e6)
      await kernel.shutdown()
    })
    expect(kernel.block.names()).toEqual([])
  })

  test('one command that hangs is found though others are answered all the time', async () => {
    const { kernel, log, run } = rig(undefined, undefined, { ...earlyFlash, flush: 100e9 })
    await run(async () => {
      const nvme = await disk(kernel)
      const flush = request(kernel, BlockOp.flush)
      const since = kernel.now()
      let answered = 0
      flush.done = () => (answered = kernel.now() - since)
      nvme.queue(flush)
      nvme.commit()
      const read = request(kernel)
      while (answered === 0) {
        const status = await submit(kernel, nvme, read)
        expect(status === BlockStatus.ok || answered > 0).toBe(true)
        await kernel.sleep(1e9)
      }
      expect(flush.status).toBe(BlockStatus.ioError)
      expect(answered).toBeLessThan(IO_TIMEOUT + 1e9)
      await kernel.shutdown()
    })
    expect(log).toHaveLength(1)
  })

  test('an interrupt that is lost: the answer is found when the time is up, and the controller is kept', async () => {
    const { machine, kernel, log, run } = rig()
    await run(async () => {
      const nvme = await disk(kernel)
      const control = capability(machine, MSI) + 2
      const enabled = machine.pci.configRead(SBDF, control, 2)
      machine.pci.configWrite(SBDF, control, 2, enabled & ~1)
      const since = kernel.now()
      expect(await submit(kernel, nvme, request(kernel))).toBe(BlockStatus.ok)
      expect(kernel.now() - since).toBeGreaterThanOrEqual(IO_TIMEOUT)
      machine.pci.configWrite(SBDF, control, 2, enabled)
      const again = kernel.now()
      expect(await submit(kernel, nvme, request(kernel))).toBe(BlockStatus.ok)
      expect(kernel.now() - again).toBeLessThan(1e6)
      await kernel.shutdown()
    })
    expect(log).toEqual([])
  })

  test('an admin command that is never answered: the probe fails with ETIMEDOUT after 60 s, and the device is let go, stopped', async () => {
    // A board whose bridge never passes the master bit on.
    const { kernel, log, run, read, busMaster } = rig(({ configWrite }) => ({
      configWrite: (sbdf, offset, size, value) =>
        configWrite(sbdf, offset, size, offset === Config.command ? value & ~Command.busMaster : value),
    }))
    await run(async () => {
      expect(await kernel.pci.register(nvmeDriver)).toEqual([])
      expect(kernel.now()).toBeGreaterThanOrEqual(ADMIN_TIMEOUT)
      expect(kernel.pci.bound()).toEqual([])
      await kernel.shutdown()
    })
    expect(log).toEqual(['nvme 0000:00:01.0: probe failed with error ETIMEDOUT'])
    expect([read(CC) & ENABLE, read(CSTS) & 1, busMaster()]).toEqual([0, 0, false])
  })

  test('a controller that was pulled out reads as ones: the kernel stops without waiting for it, and the bus is taken from the slot', async () => {
    let gone = false
    const { kernel, run, busMaster } = rig(({ read32 }) => ({
      read32: (address) => (gone ? 0xffff_ffff : read32(address)),
    }))
    await run(async () => {
      await disk(kernel)
      gone = true
      const since = kernel.now()
      await kernel.shutdown()
      expect(kernel.now() - since).toBeLessThan(1e9)
    })
    expect(busMaster()).toBe(false)
  })
})

describe('shutdown', () => {
  test.each(['iommu=off', 'swiotlb=force'])(
    'tells the controller, waits until it says that it is done, then stops it; every page comes back (NVMe 1.4 section 7.6.2; %s)',
    async (commandLine) => {
      const { kernel, store, history, run, read, busMaster } = rig(undefined, commandLine)
      const free = kernel.memory.pages.freePages
      await run(async () => {
        const nvme = await disk(kernel)
        const write = request(kernel, BlockOp.write)
        expect(await submit(kernel, nvme, write)).toBe(BlockStatus.ok)
        const { flushes } = store
        await kernel.shutdown()
        expect(store.flushes).toBe(flushes + 1)
        // One page is the request's; the pool, where there is one, stays.
        const pool = kernel.dma.pool === null ? 0 : (kernel.dma.pool.slots * 2048) / 4096
        expect(kernel.memory.pages.freePages).toBe(free - 1 - pool)
      })
      expect(history).toEqual(['disable', 'enable', 'shutdown', 'shut down', 'disable'])
      expect([read(CC) & ENABLE, read(CSTS) & 1, busMaster()]).toEqual([0, 0, false])
    },
  )

  test('requests that are under way when the kernel stops are answered, and their memory is out of reach by then', async () => {
    const { kernel, run, read } = rig()
    await run(async () => {
      const nvme = await disk(kernel)
      const answers: string[] = []
      for (let i = 0; i < 4; i++) {
        const each = request(kernel)
        each.done = ({ status }) => answers.push(`${status} ${read(CC) & ENABLE}`)
        nvme.queue(each)
      }
      nvme.commit()
      await kernel.shutdown()
      // What the controller did while it shut down is as good as ever.
      expect(answers).toHaveLength(4)
      expect(answers.at(-1)).toBe(`${BlockStatus.ioError} 0`)
      expect(
        answers.filter((answer) => answer !== `${BlockStatus.ioError} 0` && answer !== `${BlockStatus.ok} 1`),
      ).toEqual([])
    })
  })
})
