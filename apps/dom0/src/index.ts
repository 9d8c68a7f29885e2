export { dom0, type Dom0Options } from './dom0.ts'
