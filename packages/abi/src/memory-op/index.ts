export * from './device-memory.ts'
export * from './numbers.ts'
export * from './physmap.ts'
export * from './reservation.ts'
