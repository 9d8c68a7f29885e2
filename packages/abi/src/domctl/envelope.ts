import { bytes, pad, struct, u16, u32, type Field, type Fields, type Pad, type Struct } from '@iospace/wire'

/** Bytes of a domctl's payload, at offset 16. */
export const XEN_DOMCTL_PAYLOAD = 128

/** Every domctl: cmd and interface_version IN, domain IN (OUT for createdomain), payload. */
export const xen_domctl = struct('xen_domctl', {
  cmd: u32,
  interface_version: u32,
  domain: u16,
  _pad: pad(6),
  u: bytes(XEN_DOMCTL_PAYLOAD),
})

/** The fields of a whole domctl whose payload is a struct with the fields F. */
export interface DomctlFields<F extends Fields> extends Fields {
  readonly cmd: Field<number>
  readonly interface_version: Field<number>
  readonly domain: Field<number>
  readonly _pad: Pad
  readonly u: Struct<F>
  readonly rest: Pad
}

/** The whole 144 bytes of one domctl: the envelope around a payload, and zeros behind it. */
export function domctl<F extends Fields>(name: string, payload: Struct<F>): Struct<DomctlFields<F>> {
  return struct(name, {
    cmd: u32,
    interface_version: u32,
    domain: u16,
    _pad: pad(6),
    u: payload,
    rest: pad(XEN_DOMCTL_PAYLOAD - payload.size),
  })
}
