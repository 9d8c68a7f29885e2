export { default } from '@iospace/config/vitest'
