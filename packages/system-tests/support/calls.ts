/** Hypercalls as an attacker makes them: any struct, any fields, the rest zero; results as they come. */
import { DOMID, HYPERCALL, type iommu_list, XEN_DOMCTL_INTERFACE_VERSION, type HypercallName } from '@iospace/abi'
import type { Kernel, KernelBuffer } from '@iospace/linux'
import type { Fields, Struct, ValueOf } from '@iospace/wire'
import { page } from './raw-frontend.ts'

export interface Called<F extends Fields> {
  readonly result: number
  /** The struct as it is after the call. */
  readonly value: ValueOf<F>
}

/** `name(subop, struct)`, what `fields` does not say being zero. */
export function call<F extends Fields>(
  kernel: Kernel,
  name: HypercallName,
  subop: number,
  struct: Struct<F>,
  fields: Partial<ValueOf<F>>,
): Called<F> {
  const value = { ...struct.zero(), ...fields }
  return { result: kernel.hypercalls.call(name, subop, struct, value), value }
}

/** An iommu_op, with `size` as it should be unless said otherwise, and the caller as its subject. */
export function iommuOp<F extends Fields>(
  kernel: Kernel,
  subop: number,
  struct: Struct<F>,
  fields: Partial<ValueOf<F>> = {},
): Called<F> {
  const usual = { size: struct.size, domid: DOMID.SELF } as unknown as Partial<ValueOf<F>>
  return call(kernel, 'iommu_op', subop, struct, { ...usual, ...fields })
}

/** A domctl. */
export function domctl<F extends Fields>(
  kernel: Kernel,
  cmd: number,
  domain: number,
  struct: Struct<F>,
  u: object = {},
): Called<F> {
  const zero = struct.zero()
  const payload = { ...(zero as unknown as { u: object }).u, ...u }
  const value = { ...zero, cmd, domain, interface_version: XEN_DOMCTL_INTERFACE_VERSION, u: payload } as ValueOf<F>
  return { result: kernel.hypercalls.callDirect('domctl', struct, value), value }
}

/** Puts elements behind one another into a fresh page, and describes them as a list of an iommu_op. */
export function listOf<F extends Fields>(
  kernel: Kernel,
  struct: Struct<F>,
  elements: readonly Partial<ValueOf<F>>[],
  buffer: KernelBuffer = page(kernel),
): {
  readonly list: ValueOf<typeof iommu_list.fields>
  readonly buffer: KernelBuffer
  readonly read: () => ValueOf<F>[]
} {
  elements.forEach((element, i) => buffer.writeStruct(struct, { ...struct.zero(), ...element }, i * struct.size))
  return {
    list: { array: BigInt(buffer.address()), count: elements.length, stride: struct.size },
    buffer,
    read: () => elements.map((_, i) => buffer.readStruct(struct, i * struct.size)),
  }
}

/** A call with raw numbers in its registers. */
export const raw = (kernel: Kernel, name: HypercallName, ...registers: number[]): number =>
  kernel.hypercalls.gate(HYPERCALL[name], ...registers)
