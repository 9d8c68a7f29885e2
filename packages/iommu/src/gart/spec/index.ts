export * from './entries.ts'
export * from './faults.ts'
export * from './northbridge.ts'
export * from './registers.ts'
