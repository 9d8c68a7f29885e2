export { dom0, type Dom0Hands, type Dom0Options } from './dom0.ts'
