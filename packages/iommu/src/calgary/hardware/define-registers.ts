/**
 * Reset values and write masks of a chip's registers. What is not named here reads 0 and ignores writes; TARs, split queues and CSR have
 * their own rules.
 *
 * No source tells a reset value. Taken here: everything is 0 (nothing is translated, nothing isolated, no error), except that every requester
 * may win the bus (AER all ones), and that the peripheral windows are closed (bases above their limits). Windows are whole MiB, so
 * that the 20 lowest bits of their registers read 0. Registers whose meaning is not known keep what is written to them; CalIOC2's
 * error registers stay 0.
 */
import type { RegisterFile } from '../../register-file.ts'
import type { CalgaryPersonality } from '../personalities.ts'
import { BridgeConfig, BridgeRegister, CalIoc2Register, DebugRegister, Migration, Register } from '../spec/registers.ts'

const WHOLE_MEBIBYTES = 0xfff0_0000 | 0
const CONFIG =
  BridgeConfig.tableEnable |
  BridgeConfig.slotDisable |
  BridgeConfig.dualAddressDisable |
  BridgeConfig.memory2Enable |
  BridgeConfig.statusEnable

/** Registers that only keep what is written. */
const KEPT = [
  BridgeRegister.ioBaseLow,
  BridgeRegister.ioBaseHigh,
  BridgeRegister.memory1BaseHigh,
  BridgeRegister.ioSize,
  BridgeRegister.memoryStatus,
  BridgeRegister.config0High,
  BridgeRegister.config0Low,
  BridgeRegister.config0End,
  BridgeRegister.memory2BaseHigh,
  BridgeRegister.memory2LimitHigh,
  BridgeRegister.dosHole,
]

export function defineRegisters(registers: RegisterFile, { migration }: CalgaryPersonality): void {
  registers.define(Register.configuration, 0, -1)
  registers.define(Register.configuration + 4, 0, -1)
  Register.bridge.forEach((base, index) => {
    registers.define(Register.debug[index]! + DebugRegister.busRange, 0, -1)
    registers.define(base + BridgeRegister.config, 0, CONFIG)
    registers.define(base + BridgeRegister.arbitration, -1, -1)
    for (const offset of [BridgeRegister.memory1BaseLow, BridgeRegister.memory2BaseLow])
      registers.define(base + offset, WHOLE_MEBIBYTES, WHOLE_MEBIBYTES)
    for (const offset of [BridgeRegister.memory1Limit, BridgeRegister.memory2LimitLow])
      registers.define(base + offset, 0, WHOLE_MEBIBYTES)
    for (const offset of KEPT) registers.define(base + offset, 0, -1)
    if (!migration) return
    registers.define(base + CalIoc2Register.migrationControl, 0, Migration.softStop | Migration.hardStop)
    registers.define(base + CalIoc2Register.savior, 0, -1)
  })
}
