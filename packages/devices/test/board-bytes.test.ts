import { Machine, PAGE_SIZE, type PciFunction } from '@iospace/machine'
import { ConfigError } from '@iospace/wire'
import { expect, test } from 'vitest'
import { MemoryBlockStore, NVME_BOARD_BYTES, NvmeController, ROGUE_BOARD_BYTES, RogueDevice } from '../src/index.ts'

const store = new MemoryBlockStore(new Uint8Array(512))

test.each([
  ['NVMe controller', NVME_BOARD_BYTES, (machine: Machine): PciFunction => new NvmeController({ machine, store })],
  ['rogue device', ROGUE_BOARD_BYTES, (machine: Machine): PciFunction => new RogueDevice({ machine })],
])('an %s takes exactly the board memory that it says', (_, bytes, make) => {
  const plug = (boardBytes: number) => {
    const memory = { lowFrames: 1, highFrames: 0, boardBytes }
    const machine = new Machine({ memory, seed: 1, turn: () => Promise.resolve() })
    return machine.pci.add(0, 0x08, make(machine))
  }
  expect(plug(bytes).bdf).toBe(0x08)
  expect(() => plug(bytes - PAGE_SIZE)).toThrow(ConfigError)
})
