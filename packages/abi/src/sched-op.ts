import { pad, struct, u32, u64 } from '@iospace/wire'

/** Sub-operations of `sched_op`; `yield` and `block` take no struct. Source: xen/include/public/sched.h. */
export const SCHEDOP = Object.freeze({ yield: 0, block: 1, shutdown: 2, poll: 3 })

/** Why a domain shuts down. */
export const SHUTDOWN = Object.freeze({ poweroff: 0, reboot: 1, suspend: 2, crash: 3, watchdog: 4, soft_reset: 5 })

/** `shutdown`: IN reason. */
export const sched_shutdown = struct('sched_shutdown', { reason: u32 })

/**
 * `poll`: waits for one of nr_ports ports (guest pointer to u32 each) or timeout, an absolute system time in ns (0:
 * none). All IN.
 */
export const sched_poll = struct('sched_poll', { ports: u64, nr_ports: u32, pad0: pad(4), timeout: u64 })
