export * from './numbers.ts'
export * from './pci-device.ts'
export * from './pirq.ts'
