export * from './block-store.ts'
export * from './ids.ts'
export * from './nvme/index.ts'
export * from './rogue.ts'
