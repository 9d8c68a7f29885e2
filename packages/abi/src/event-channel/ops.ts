import { pad, struct, u16, u32, array } from '@iospace/wire'

/** `alloc_unbound`: a port of dom that remote_dom may bind to. IN dom, remote_dom; OUT port. */
export const evtchn_alloc_unbound = struct('evtchn_alloc_unbound', { dom: u16, remote_dom: u16, port: u32 })

/** `bind_interdomain`: IN remote_dom, remote_port; OUT local_port. */
export const evtchn_bind_interdomain = struct('evtchn_bind_interdomain', {
  remote_dom: u16,
  pad0: pad(2),
  remote_port: u32,
  local_port: u32,
})

/** `bind_virq`: IN virq, vcpu; OUT port. A virq is bound once per vCPU (`EEXIST`). */
export const evtchn_bind_virq = struct('evtchn_bind_virq', { virq: u32, vcpu: u32, port: u32 })

/** `bind_pirq`: IN pirq, flags; OUT port. */
export const evtchn_bind_pirq = struct('evtchn_bind_pirq', { pirq: u32, flags: u32, port: u32 })

/** `bind_ipi`: IN vcpu; OUT port. */
export const evtchn_bind_ipi = struct('evtchn_bind_ipi', { vcpu: u32, port: u32 })

/** `bind_vcpu`: events of port go to vcpu. All IN. */
export const evtchn_bind_vcpu = struct('evtchn_bind_vcpu', { port: u32, vcpu: u32 })

/** `close`: IN port. */
export const evtchn_close = struct('evtchn_close', { port: u32 })

/** `send`: IN port. */
export const evtchn_send = struct('evtchn_send', { port: u32 })

/** `unmask`: clears the mask bit and delivers what is pending. IN port. */
export const evtchn_unmask = struct('evtchn_unmask', { port: u32 })

/** `reset`: closes all ports of dom. */
export const evtchn_reset = struct('evtchn_reset', { dom: u16 })

/**
 * `status`: IN dom, port; OUT status, vcpu and u: for unbound and interdomain u[0] is the other domain, for interdomain
 * u[1] its port; for pirq and virq u[0] is the number. (A union in Xen; its 16-bit members lie in the low half of
 * u[0].)
 */
export const evtchn_status = struct('evtchn_status', {
  dom: u16,
  pad0: pad(2),
  port: u32,
  status: u32,
  vcpu: u32,
  u: array(u32, 2),
})
