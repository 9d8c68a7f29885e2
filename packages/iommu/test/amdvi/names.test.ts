import { expect, test } from 'vitest'
import { eventCode, eventName, Fault, faultText } from '../../src/amdvi/spec/events.ts'

/** What people read of an event (facts B.6). */
test('codes have the names of the specification [amdvi.event.layout]', () => {
  const names = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa].map(eventName)
  expect(names).toEqual([
    'ILLEGAL_DEV_TABLE_ENTRY',
    'IO_PAGE_FAULT',
    'DEV_TAB_HARDWARE_ERROR',
    'PAGE_TAB_HARDWARE_ERROR',
    'ILLEGAL_COMMAND_ERROR',
    'COMMAND_HARDWARE_ERROR',
    'IOTLB_INV_TIMEOUT',
    'INVALID_DEVICE_REQUEST',
    'INVALID_PPR_REQUEST',
    'EVENT_COUNTER_ZERO',
  ])
  expect([eventName(0), eventName(0xb)]).toEqual(['unknown event', 'unknown event'])
})

test('every way to fail has an event and a text of its own [amdvi.event.layout]', () => {
  const faults = Object.values(Fault)
  expect(new Set(faults.map(faultText)).size).toBe(faults.length)
  expect(new Set(faults.map(eventCode))).toEqual(new Set([1, 2, 3, 4, 8]))
  expect(faultText(0)).toBe('unknown fault')
})
