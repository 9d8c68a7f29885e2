/** Reset values and write masks of an AMD-Vi unit's registers. What is not named here reads 0 and ignores writes. */
import type { RegisterFile } from '../../register-file.ts'
import type { AmdviPersonality } from '../personalities.ts'
import {
  Control,
  ControlHigh,
  DeviceTableRegister,
  Register,
  RING_OFFSET_MASK,
  RingRegister,
  Status,
} from '../spec/registers.ts'

/** Control bits that do something here, or are attributes of a bus that the board does not have. */
const CONTROL =
  Control.enable |
  Control.tunnel |
  Control.eventLog |
  Control.eventInterrupt |
  Control.waitInterrupt |
  Control.timeoutMask |
  Control.passPosted |
  Control.responsePassPosted |
  Control.coherent |
  Control.isochronous |
  Control.commandBuffer

export function defineRegisters(registers: RegisterFile, personality: AmdviPersonality): void {
  const { featuresHigh, featuresLow, features2, features } = personality
  const ringHigh = RingRegister.addressHigh | (RingRegister.lengthMask << RingRegister.lengthShift)
  registers.define(Register.deviceTable, 0, DeviceTableRegister.addressMask | DeviceTableRegister.sizeMask)
  registers.define(Register.deviceTable + 4, 0, DeviceTableRegister.addressHigh)
  registers.define(Register.commandBuffer, 0, RingRegister.addressMask)
  registers.define(Register.commandBuffer + 4, RingRegister.minLength << RingRegister.lengthShift, ringHigh)
  registers.define(Register.eventLog, 0, RingRegister.addressMask)
  registers.define(Register.eventLog + 4, RingRegister.minLength << RingRegister.lengthShift, ringHigh)
  registers.define(Register.control, 0, CONTROL | (features.guestApic ? Control.guestApic : 0))
  registers.define(
    Register.control + 4,
    0,
    (features.interrupts2K ? ControlHigh.interruptModeMask << ControlHigh.interruptModeShift : 0) |
      (features.hostAccessed ? ControlHigh.hostUpdateMask : 0),
  )
  registers.define(Register.features, featuresLow)
  registers.define(Register.features + 4, featuresHigh)
  registers.define(Register.features2, features2)
  for (const offset of [Register.commandHead, Register.commandTail, Register.eventHead, Register.eventTail])
    registers.define(offset, 0, RING_OFFSET_MASK)
  registers.define(Register.status, 0, 0, Status.clearable)
}
