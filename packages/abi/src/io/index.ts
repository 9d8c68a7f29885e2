export * from './blkif.ts'
export * from './ring.ts'
export * from './xenbus.ts'
export * from './xs-wire.ts'
