export * from './numbers.ts'
export * from './ops.ts'
