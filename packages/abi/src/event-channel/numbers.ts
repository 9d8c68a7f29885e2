/** Sub-operations of `event_channel_op`. Source: xen/include/public/event_channel.h. */
export const EVTCHNOP = Object.freeze({
  bind_interdomain: 0,
  bind_virq: 1,
  bind_pirq: 2,
  close: 3,
  send: 4,
  status: 5,
  alloc_unbound: 6,
  bind_ipi: 7,
  bind_vcpu: 8,
  unmask: 9,
  reset: 10,
  init_control: 11,
  expand_array: 12,
  set_priority: 13,
})

/** What a port is bound to, as `status` tells it. */
export const EVTCHNSTAT = Object.freeze({ closed: 0, unbound: 1, interdomain: 2, pirq: 3, virq: 4, ipi: 5 })

/**
 * Virtual interrupts. `IOMMU_FAULT` is ours, in a number that Xen leaves free: the fault ring of a domain has something
 * new.
 */
export const VIRQ = Object.freeze({
  TIMER: 0,
  DEBUG: 1,
  CONSOLE: 2,
  DOM_EXC: 3,
  TBUF: 4,
  DEBUGGER: 6,
  XENOPROF: 7,
  CON_RING: 8,
  PCPU_STATE: 9,
  MEM_EVENT: 10,
  ARGO: 11,
  ENOMEM: 12,
  XENPMU: 13,
  IOMMU_FAULT: 14,
})

/** The number of virtual interrupts. */
export const NR_VIRQS = 24

/** Flag of bind_pirq. */
export const BIND_PIRQ_WILL_SHARE = 1

/** Ports of the two-level bitmap, 64-bit domains; port 0 is never valid. */
export const EVTCHN_2L_NR_CHANNELS = 4096
