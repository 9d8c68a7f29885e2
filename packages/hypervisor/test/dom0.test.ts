import { expect, test } from 'vitest'
import { SIF, START_INFO_PFN, start_info } from '@iospace/abi'
import { rig } from './rig.ts'

test('dom0 finds its start_info at START_INFO_PFN, and pfn 0 empty (abi/start-of-day)', () => {
  const { dom0 } = rig()
  const info = dom0.get(start_info, START_INFO_PFN * 4096)
  expect(new TextDecoder().decode(info.magic).replace(/\0*$/, '')).toBe('xen-3.0-x86_64')
  expect(info.flags).toBe(SIF.PRIVILEGED | SIF.INITDOMAIN)
  expect(info.nr_pages).toBe(256n)
  expect(new TextDecoder().decode(info.cmd_line).replace(/\0*$/, '')).toBe('init=test')
  expect(dom0.view.memory.frameOffset(0)).toBe(-1)
})
