/** What the controller says of itself and of its namespace (NVMe 1.4 section 5.15). */
import { IOSPACE_VENDOR } from '../ids.ts'
import { ERROR_LOG_ENTRIES } from './error-log.ts'
import { MAX_EVENT_REQUESTS } from './events.ts'
import { ALL_NAMESPACES, MDTS, NAMESPACE } from './spec/commands.ts'
import {
  Cns,
  IDENTIFY_BYTES,
  identifyController,
  identifyNamespace,
  namespaceUuid,
  NIDT_UUID,
} from './spec/identify.ts'
import { VERSION } from './spec/registers.ts'
import { Status } from './spec/status.ts'

export const FIRMWARE = '1.0'
const MODEL = 'iospace NVMe controller'

export interface Identity {
  /** Up to 20 printable ASCII characters. */
  readonly serial: string
  readonly blocks: number
  readonly readOnly: boolean
}

/** Writes the 4096 bytes that `cns` asks for at `at`, which are zero before. Returns a status. */
export function identify(identity: Identity, cns: number, nsid: number, view: DataView, at: number): number {
  switch (cns) {
    case Cns.controller:
      writeController(identity, view, at)
      return Status.success
    case Cns.namespace:
      if (nsid !== NAMESPACE) return Status.invalidNamespace
      writeNamespace(identity, view, at)
      return Status.success
    case Cns.activeNamespaces:
      // Identifiers above nsid; the two highest cannot be identifiers (5.15.2.3).
      if (nsid >= ALL_NAMESPACES - 1) return Status.invalidNamespace
      if (nsid < NAMESPACE) view.setUint32(at, NAMESPACE, true)
      return Status.success
    case Cns.namespaceDescriptors:
      if (nsid !== NAMESPACE) return Status.invalidNamespace
      namespaceUuid.write(view, at, { nidt: NIDT_UUID, nidl: 16, nid: uuidOf(identity.serial) })
      return Status.success
    default:
      return Status.invalidField
  }
}

/** Size of every answer. */
export { IDENTIFY_BYTES }

export const text = (value: string, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i < value.length ? value.charCodeAt(i) : 0x20))

function writeController({ serial }: Identity, view: DataView, at: number): void {
  const power = identifyController.zero().psd.slice()
  // 25 W, in centiwatts.
  power[0] = { mp: 2500 }
  const name = `nqn.2014-08.org.nvmexpress:${IOSPACE_VENDOR.toString(16).repeat(2)}${serial}`
  const subnqn = new Uint8Array(256)
  subnqn.set(text(name, name.length))
  identifyController.write(view, at, {
    ...identifyController.zero(),
    vid: IOSPACE_VENDOR,
    ssvid: IOSPACE_VENDOR,
    sn: text(serial, 20),
    mn: text(MODEL, 40),
    fr: text(FIRMWARE, 8),
    mdts: MDTS,
    ver: VERSION,
    cntrltype: 1,
    acl: 3,
    aerl: MAX_EVENT_REQUESTS - 1,
    // One firmware slot, which is read-only.
    frmw: 0x3,
    lpa: 0x4,
    elpe: ERROR_LOG_ENTRIES - 1,
    wctemp: 343,
    cctemp: 353,
    sqes: 0x66,
    cqes: 0x44,
    nn: NAMESPACE,
    vwc: 0x7,
    subnqn,
    psd: power,
  })
}

function writeNamespace({ blocks, readOnly }: Identity, view: DataView, at: number): void {
  const size = BigInt(blocks)
  identifyNamespace.write(view, at, {
    ...identifyNamespace.zero(),
    nsze: size,
    ncap: size,
    nuse: size,
    nsattr: readOnly ? 1 : 0,
    lbaf0_ds: 9,
  })
}

/** A custom UUID (RFC 9562 version 8) from the serial number, so that the same disk is the same in every run. */
function uuidOf(serial: string): Uint8Array {
  const uuid = new Uint8Array(16)
  for (let i = 0; i < 16; i++) {
    let hash = 0x811c9dc5 ^ i
    for (const character of serial) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193)
    uuid[i] = hash >>> 24
  }
  uuid[6] = 0x80 | (uuid[6]! & 0xf)
  uuid[8] = 0x80 | (uuid[8]! & 0x3f)
  return uuid
}
