/**
 * Reset values and write masks of the registers that belong to no part of the unit alone (facts A.1). What a unit does not have reads 0
 * and takes no writes: advanced fault log, protected memory, page requests, memory types, and what its ECAP says.
 */
import type { RegisterFile } from '../../register-file.ts'
import type { VtdPersonality } from '../personalities.ts'
import {
  ContextCommand,
  InterruptTableAddress,
  InvalidationAddress,
  IotlbRegister,
  Register,
  RootTableRegister,
} from '../spec/registers.ts'

/** The last part to be called when a unit is put together. */
export function defineRegisters(registers: RegisterFile, personality: VtdPersonality): void {
  const { version, capHigh, capLow, ecapHigh, ecapLow, capabilities } = personality
  registers.define(Register.version, version)
  registers.define(Register.capability, capLow)
  registers.define(Register.capability + 4, capHigh)
  registers.define(Register.extendedCapability, ecapLow)
  registers.define(Register.extendedCapability + 4, ecapHigh)
  registers.define(Register.rootTable, 0, RootTableRegister.addressMask | RootTableRegister.modeMask)
  registers.define(Register.rootTable + 4, 0, -1)
  // Domain id bits that the unit does not have do not exist. Source id and function mask are write-only.
  const domain = (1 << capabilities.domainBits) - 1
  registers.define(Register.contextCommand, 0, domain | (0xffff_0000 | 0), 0, 0xffff_0000 | 0)
  registers.define(Register.contextCommand + 4, 0, 0xe000_0003 | 0, 0, ContextCommand.functionMask)
  const iotlb = capabilities.iotlbOffset
  const address = 0xffff_f000 | InvalidationAddress.leafOnly | InvalidationAddress.orderMask | 0
  registers.define(iotlb + IotlbRegister.address, 0, address, 0, -1)
  registers.define(iotlb + IotlbRegister.address + 4, 0, 2 ** (capabilities.addressBits - 32) - 1, 0, -1)
  registers.define(iotlb + IotlbRegister.command + 4, 0, 0xb003_0000 | domain)
  if (!capabilities.queue) {
    const event = Register.invalidationEventControl
    for (const offset of [event, event + 4, event + 8, event + 12]) registers.define(offset, 0)
  }
  if (!capabilities.interruptRemapping) return
  const { addressMask, extended, sizeMask } = InterruptTableAddress
  const mode = capabilities.extendedInterrupts ? extended : 0
  registers.define(Register.interruptTable, 0, addressMask | mode | sizeMask)
  registers.define(Register.interruptTable + 4, 0, -1)
}

/** Registers whose contents survive a reset that does not take the power away, beside the fault records. */
export const STICKY = [
  Register.faultStatus,
  Register.invalidationStatus,
  Register.queueErrorRecord,
  Register.queueErrorRecord + 4,
] as const
