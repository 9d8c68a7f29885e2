import { ValueError } from './errors.ts'

declare const brand: unique symbol

/**
 * A number that only its constructor makes; `Name` keeps it apart from every other branded number. A plain number at
 * run time.
 */
export type Branded<Name extends string> = number & { readonly [brand]: Name }

/** A frame number in a domain's own, contiguous numbering. Unit: 4 KiB frames. */
export type Pfn = Branded<'Pfn'>
/** A machine frame number. Unit: 4 KiB frames. */
export type Mfn = Branded<'Mfn'>
/** What an ABI field calls a guest frame: a machine frame for PV domains, a pfn for HVM domains (as in Xen). */
export type Gfn = Branded<'Gfn'>
/** A domain id, 16 bits, reserved ids (`DOMID_SELF`…) included. */
export type Domid = Branded<'Domid'>
/** An index into a domain's grant table. */
export type GrantRef = Branded<'GrantRef'>
/** A PCI function: segment in bits 31–16, bus in 15–8, device in 7–3, function in 2–0. */
export type Sbdf = Branded<'Sbdf'>
/** The id of an I/O space inside its domain; 0 is the default space. */
export type SpaceId = Branded<'SpaceId'>
/** An event channel port of a domain. */
export type Port = Branded<'Port'>
/** A byte address as a device puts it on the bus, below 2^53. */
export type IoAddress = Branded<'IoAddress'>
/** A byte address in machine memory, below 2^53. */
export type MachineAddress = Branded<'MachineAddress'>
/** A byte address in a domain's kernel linear map (pfn << 12 | offset), below 2^53. */
export type GuestAddress = Branded<'GuestAddress'>

const U16 = 0xffff
const U32 = 0xffff_ffff
/** Frame numbers stay below 2^41, so that a frame's byte address is an exact number. */
const FRAME = 2 ** 41 - 1

/** A pfn from 0 ≤ n < 2^41, or ValueError. */
export const Pfn = (n: number): Pfn => checked('Pfn', n, FRAME)
/** An mfn from 0 ≤ n < 2^41, or ValueError. */
export const Mfn = (n: number): Mfn => checked('Mfn', n, FRAME)
/** A gfn from 0 ≤ n < 2^41, or ValueError. */
export const Gfn = (n: number): Gfn => checked('Gfn', n, FRAME)
/** A domid from 0 ≤ n < 2^16, or ValueError. */
export const Domid = (n: number): Domid => checked('Domid', n, U16)
/** A grant reference from 0 ≤ n < 2^32, or ValueError. */
export const GrantRef = (n: number): GrantRef => checked('GrantRef', n, U32)
/** An sbdf from 0 ≤ n < 2^32, or ValueError. */
export const Sbdf = (n: number): Sbdf => checked('Sbdf', n, U32)
/** A space id from 0 ≤ n < 2^32, or ValueError. */
export const SpaceId = (n: number): SpaceId => checked('SpaceId', n, U32)
/** An event channel port from 0 ≤ n < 2^32, or ValueError. */
export const Port = (n: number): Port => checked('Port', n, U32)
/** An I/O address from 0 ≤ n < 2^53, or ValueError. */
export const IoAddress = (n: number): IoAddress => checked('IoAddress', n, Number.MAX_SAFE_INTEGER)
/** A machine address from 0 ≤ n < 2^53, or ValueError. */
export const MachineAddress = (n: number): MachineAddress => checked('MachineAddress', n, Number.MAX_SAFE_INTEGER)
/** A guest address from 0 ≤ n < 2^53, or ValueError. */
export const GuestAddress = (n: number): GuestAddress => checked('GuestAddress', n, Number.MAX_SAFE_INTEGER)

function checked<Name extends string>(name: Name, n: number, max: number): Branded<Name> {
  if (!Number.isInteger(n) || n < 0 || n > max)
    throw new ValueError(name, undefined, undefined, n, `is not an integer from 0 to 0x${max.toString(16)}`)
  return n as Branded<Name>
}
