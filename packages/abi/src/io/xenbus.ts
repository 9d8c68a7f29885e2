/** How far a front- or back-end is; in xenstore as decimal text. Source: xen/include/public/io/xenbus.h. */
export const XENBUS_STATE = Object.freeze({
  Unknown: 0,
  Initialising: 1,
  /** Back-end: published what it can, waits for the front-end. */
  InitWait: 2,
  /** Front-end: published its ring and event channel. */
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
  Reconfiguring: 7,
  Reconfigured: 8,
})

/** The name of a state. */
export type XenbusStateName = keyof typeof XENBUS_STATE
/** A state's number. */
export type XenbusState = (typeof XENBUS_STATE)[XenbusStateName]
