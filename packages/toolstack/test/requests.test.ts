import { describe, expect, test } from 'vitest'
import { DEFAULT_QUOTA } from '../src/xenstore/quota.ts'
import { clientOf, makeStore } from './client.ts'

const GUEST = 3
const OTHER = 4

function start() {
  const { store, log } = makeStore()
  const dom0 = clientOf(store, 0)
  for (const domid of [GUEST, OTHER]) {
    dom0.call('MKDIR', `/local/domain/${domid}|`)
    dom0.call('SET_PERMS', `/local/domain/${domid}|n${domid}|`)
  }
  return { store, log, dom0, guest: clientOf(store, GUEST), other: clientOf(store, OTHER) }
}

describe('nodes (xenstore.txt)', () => {
  test('WRITE makes a node and those above it; READ answers the value without a final zero', () => {
    const { dom0 } = start()
    expect(dom0.call('WRITE', '/a/b/c|value with \x01 byte')).toBe('OK|')
    expect(dom0.call('READ', '/a/b/c|')).toBe('value with \x01 byte')
    expect(dom0.call('READ', '/a/b|')).toBe('')
    expect(dom0.call('DIRECTORY', '/a|')).toBe('b|')
    expect(dom0.call('DIRECTORY', '/a/b/c|')).toBe('')
  })

  test('DIRECTORY lists names, READ and DIRECTORY of nothing are ENOENT', () => {
    const { dom0 } = start()
    for (const name of ['z', 'a', 'm']) dom0.call('WRITE', `/d/${name}|`)
    expect(dom0.call('DIRECTORY', '/d|')).toBe('a|m|z|')
    expect(dom0.call('READ', '/none|')).toBe('ENOENT')
    expect(dom0.call('DIRECTORY', '/none|')).toBe('ENOENT')
  })

  test('MKDIR of an existing node changes nothing', () => {
    const { dom0 } = start()
    dom0.call('WRITE', '/a|v')
    expect(dom0.call('MKDIR', '/a|')).toBe('OK|')
    expect(dom0.call('READ', '/a|')).toBe('v')
  })

  test('RM takes everything below; of a missing node under an existing one it is no error', () => {
    const { dom0 } = start()
    dom0.call('WRITE', '/a/b/c|1')
    expect(dom0.call('RM', '/a/b|')).toBe('OK|')
    expect(dom0.call('READ', '/a/b/c|')).toBe('ENOENT')
    expect(dom0.call('RM', '/a/b|')).toBe('OK|')
    expect(dom0.call('RM', '/no/such|')).toBe('ENOENT')
    expect(dom0.call('RM', '/|')).toBe('EINVAL')
  })

  test('a relative path is below the domain’s own folder', () => {
    const { dom0, guest } = start()
    expect(guest.call('WRITE', 'device/x|1')).toBe('OK|')
    expect(dom0.call('READ', `/local/domain/${GUEST}/device/x|`)).toBe('1')
  })

  test.each([
    ['/a/|'],
    ['//a|'],
    ['/a//b|'],
    ['|'],
    ['/ä|'],
    ['/a b|'],
    ['/a'],
    [`/${'x'.repeat(3072)}|`],
    ['@introduceDomain|'],
  ])('the path %j is EINVAL', (payload) => {
    expect(start().dom0.call('READ', payload)).toBe('EINVAL')
  })

  test('a longest path is allowed, absolute and relative', () => {
    const { dom0 } = start()
    expect(dom0.call('WRITE', `/${'x'.repeat(3071)}|1`)).toBe('OK|')
    expect(dom0.call('WRITE', `${'y'.repeat(2048)}|1`)).toBe('OK|')
    expect(dom0.call('WRITE', `${'y'.repeat(2049)}|1`)).toBe('EINVAL')
  })

  test('an answer that does not fit a message is E2BIG', () => {
    const { dom0 } = start()
    for (let i = 0; i < 900; i++) dom0.call('MKDIR', `/many/node${i}|`)
    expect(dom0.call('DIRECTORY', '/many|')).toBe('E2BIG')
  })

  test('an unknown request is ENOSYS', () => {
    const { dom0 } = start()
    for (const name of ['CONTROL', 'SET_TARGET', 'RESUME', 'DIRECTORY_PART', 'WATCH_EVENT', 'ERROR'] as const) {
      expect(dom0.call(name, '|')).toBe('ENOSYS')
    }
  })
})

describe('permissions (xenstore.txt)', () => {
  test('a guest neither reads nor writes another’s nodes, and cannot tell whether they exist', () => {
    const { dom0, guest } = start()
    dom0.call('WRITE', `/local/domain/${OTHER}/secret|x`)
    for (const path of [`/local/domain/${OTHER}/secret`, `/local/domain/${OTHER}/missing`]) {
      expect(guest.call('READ', `${path}|`)).toBe('EACCES')
      expect(guest.call('WRITE', `${path}|y`)).toBe('EACCES')
      expect(guest.call('RM', `${path}|`)).toBe('EACCES')
      expect(guest.call('DIRECTORY', `${path}|`)).toBe('EACCES')
      expect(guest.call('GET_PERMS', `${path}|`)).toBe('EACCES')
    }
    expect(dom0.call('READ', `/local/domain/${OTHER}/secret|`)).toBe('x')
  })

  test('the letters grant what they say, to the named domain only', () => {
    const { dom0, guest, other } = start()
    dom0.call('WRITE', '/n|v')
    for (const [letter, read, write] of [
      ['n', 'EACCES', 'EACCES'],
      ['r', 'v', 'EACCES'],
      ['w', 'EACCES', 'OK|'],
      ['b', 'v', 'OK|'],
    ]) {
      dom0.call('SET_PERMS', `/n|n0|${letter}${GUEST}|`)
      expect([guest.call('READ', '/n|'), guest.call('WRITE', '/n|v')]).toEqual([read, write])
      expect(other.call('READ', '/n|')).toBe('EACCES')
    }
  })

  test('the first entry is the owner, and what the unnamed may do', () => {
    const { dom0, guest, other } = start()
    dom0.call('WRITE', '/n|v')
    dom0.call('SET_PERMS', `/n|r${GUEST}|n${OTHER}|`)
    expect(guest.call('WRITE', '/n|w')).toBe('OK|')
    expect(other.call('READ', '/n|')).toBe('EACCES')
    expect(clientOf(start().store, 9).call('READ', '/n|')).toBe('EACCES')
    expect(guest.call('GET_PERMS', '/n|')).toBe(`r${GUEST}|n${OTHER}|`)
  })

  test('what a guest creates is its own, with its parent’s other entries', () => {
    const { dom0, guest } = start()
    dom0.call('SET_PERMS', `/local/domain/${GUEST}|n${GUEST}|r${OTHER}|`)
    guest.call('WRITE', 'x/y|1')
    expect(dom0.call('GET_PERMS', `/local/domain/${GUEST}/x/y|`)).toBe(`n${GUEST}|r${OTHER}|`)
  })

  test('only the owner and the control domain change permissions, and only the latter the owner', () => {
    const { dom0, guest, other } = start()
    guest.call('WRITE', 'x|1')
    const path = `/local/domain/${GUEST}/x`
    expect(other.call('SET_PERMS', `${path}|b${OTHER}|`)).toBe('EACCES')
    // No more is told of a node that is not there.
    expect(other.call('SET_PERMS', `${path}/none|b${OTHER}|`)).toBe('EACCES')
    expect(guest.call('SET_PERMS', `${path}|n${OTHER}|`)).toBe('EPERM')
    expect(guest.call('SET_PERMS', `${path}|n${GUEST}|r${OTHER}|`)).toBe('OK|')
    expect(other.call('READ', `${path}|`)).toBe('1')
    expect(dom0.call('SET_PERMS', `${path}|n${OTHER}|`)).toBe('OK|')
    expect(guest.call('READ', `${path}|`)).toBe('EACCES')
  })

  test.each([['x'], ['r'], ['r-1'], ['r99999'], ['r1x'], ['']])('the permission %j is EINVAL', (text) => {
    expect(start().dom0.call('SET_PERMS', `/local|${text}|`)).toBe('EINVAL')
  })
})

describe('watches (xenstore.txt)', () => {
  test('fire once when set, whether or not the node exists, and then for the node and all below it', () => {
    const { dom0 } = start()
    expect(dom0.call('WATCH', '/w|token|')).toBe('OK|')
    expect(dom0.fired()).toEqual(['/w token'])
    dom0.call('WRITE', '/w|1')
    dom0.call('WRITE', '/w/x|1')
    dom0.call('WRITE', '/wx|1')
    dom0.call('SET_PERMS', '/w/x|n0|')
    dom0.call('RM', '/w/x|')
    expect(dom0.fired()).toEqual(['/w token', '/w/x token', '/w/x token', '/w/x token'])
    expect(dom0.call('UNWATCH', '/w|token|')).toBe('OK|')
    dom0.call('WRITE', '/w|2')
    expect(dom0.fired()).toEqual([])
    expect(dom0.call('UNWATCH', '/w|token|')).toBe('ENOENT')
  })

  test('a watch on a node fires when something above it is removed, if it was there', () => {
    const { dom0 } = start()
    dom0.call('WRITE', '/a/b/c|1')
    dom0.call('WATCH', '/a/b/c|there|')
    dom0.call('WATCH', '/a/b/d|absent|')
    dom0.fired()
    dom0.call('RM', '/a|')
    expect(dom0.fired()).toEqual(['/a/b/c there'])
  })

  test('one set by a relative path reports relative paths', () => {
    const { dom0, guest } = start()
    guest.call('WATCH', 'device|t|')
    dom0.call('WRITE', `/local/domain/${GUEST}/device/vbd|1`)
    dom0.call('SET_PERMS', `/local/domain/${GUEST}/device/vbd|n${GUEST}|`)
    expect(guest.fired()).toEqual(['device t', 'device/vbd t', 'device/vbd t'])
  })

  test('tell a guest nothing of nodes that it may not read', () => {
    const { dom0, guest } = start()
    guest.call('WATCH', '/|all|')
    guest.fired()
    dom0.call('WRITE', `/local/domain/${OTHER}/x|1`)
    dom0.call('RM', `/local/domain/${OTHER}/x|`)
    expect(guest.fired()).toEqual([])
    dom0.call('WRITE', `/local/domain/${GUEST}/x|1`)
    expect(guest.fired()).toEqual([`/local/domain/${GUEST}/x all`])
  })

  test('the same path and token twice is EEXIST; another token is another watch', () => {
    const { dom0 } = start()
    dom0.call('WATCH', '/w|a|')
    expect(dom0.call('WATCH', '/w|a|')).toBe('EEXIST')
    expect(dom0.call('WATCH', '/w|b|')).toBe('OK|')
    expect(dom0.call('RESET_WATCHES', '|')).toBe('OK|')
    dom0.fired()
    dom0.call('WRITE', '/w|1')
    expect(dom0.fired()).toEqual([])
  })
})

describe('transactions (xenstore.txt)', () => {
  const begin = (client: ReturnType<typeof clientOf>): number =>
    Number(client.call('TRANSACTION_START', '|').replace('|', ''))

  test('are seen by nobody else until they end, and then at once', () => {
    const { dom0 } = start()
    dom0.call('WATCH', '/t|t|')
    dom0.fired()
    const id = begin(dom0)
    dom0.call('WRITE', '/t/a|1', id)
    dom0.call('WRITE', '/t/b|2', id)
    expect(dom0.call('READ', '/t/a|', id)).toBe('1')
    expect(dom0.call('READ', '/t/a|')).toBe('ENOENT')
    expect(dom0.fired()).toEqual([])
    expect(dom0.call('TRANSACTION_END', 'T|', id)).toBe('OK|')
    expect(dom0.call('READ', '/t/a|')).toBe('1')
    expect(dom0.fired()).toEqual(['/t/a t', '/t/b t'])
  })

  test('see the store as it was when they began', () => {
    const { dom0 } = start()
    dom0.call('WRITE', '/t|old')
    const id = begin(dom0)
    dom0.call('WRITE', '/t|new')
    expect(dom0.call('READ', '/t|', id)).toBe('old')
  })

  test('that read or wrote what another changed meanwhile are EAGAIN, without effect', () => {
    const { dom0, guest } = start()
    dom0.call('WRITE', '/t|0')
    for (const touch of [
      (id: number) => dom0.call('READ', '/t|', id),
      (id: number) => dom0.call('WRITE', '/t|x', id),
      (id: number) => dom0.call('DIRECTORY', '/t|', id),
    ]) {
      const id = begin(dom0)
      touch(id)
      dom0.call('WRITE', '/mine|x', id)
      dom0.call('WRITE', '/t/child|1')
      dom0.call('WRITE', '/t|1')
      expect(dom0.call('TRANSACTION_END', 'T|', id)).toBe('EAGAIN')
      expect(dom0.call('READ', '/mine|')).toBe('ENOENT')
      dom0.call('RM', '/t/child|')
    }
    // What it did not touch may change.
    const id = begin(dom0)
    dom0.call('READ', '/t|', id)
    guest.call('WRITE', 'x|1')
    expect(dom0.call('TRANSACTION_END', 'T|', id)).toBe('OK|')
  })

  test('given up have no effect; an unknown one is ENOENT, one inside another EBUSY', () => {
    const { dom0, guest } = start()
    const id = begin(dom0)
    dom0.call('WRITE', '/t|1', id)
    expect(dom0.call('TRANSACTION_START', '|', id)).toBe('EBUSY')
    expect(guest.call('READ', 'x|', id)).toBe('ENOENT')
    expect(dom0.call('TRANSACTION_END', 'X|', id)).toBe('EINVAL')
    expect(dom0.call('TRANSACTION_END', 'F|', id)).toBe('OK|')
    expect(dom0.call('READ', '/t|')).toBe('ENOENT')
    expect(dom0.call('TRANSACTION_END', 'T|', id)).toBe('ENOENT')
  })
})

describe('domains (xenstore.txt)', () => {
  test('INTRODUCE opens the page, RELEASE closes it; watches on both events fire', () => {
    const { dom0, log } = start()
    dom0.call('WATCH', '@introduceDomain|i|')
    dom0.call('WATCH', '@releaseDomain|r|')
    dom0.fired()
    expect(dom0.call('IS_DOMAIN_INTRODUCED', '5|')).toBe('F|')
    expect(dom0.call('INTRODUCE', '5|1234|7|')).toBe('OK|')
    expect(dom0.call('IS_DOMAIN_INTRODUCED', '5|')).toBe('T|')
    expect(dom0.call('INTRODUCE', '5|1234|7|')).toBe('EBUSY')
    expect(dom0.call('INTRODUCE', '6|0|7|')).toBe('EINVAL')
    expect(dom0.call('RELEASE', '5|')).toBe('OK|')
    expect(dom0.call('RELEASE', '5|')).toBe('ENOENT')
    expect(dom0.fired()).toEqual(['@introduceDomain i', '@releaseDomain r'])
    expect(log).toEqual(['open 5 1234 7', 'open 6 0 7', 'close 5'])
  })

  test('are the control domain’s business', () => {
    const { guest } = start()
    expect(guest.call('INTRODUCE', '5|1|1|')).toBe('EACCES')
    expect(guest.call('RELEASE', '5|')).toBe('EACCES')
    expect(guest.call('GET_DOMAIN_PATH', '5|')).toBe('/local/domain/5|')
    guest.call('WATCH', '@releaseDomain|r|')
    expect(guest.fired()).toEqual(['@releaseDomain r'])
  })

  test.each([['x|'], ['-1|'], ['|'], ['5'], ['70000|']])('the domain id %j is EINVAL', (payload) => {
    expect(start().dom0.call('GET_DOMAIN_PATH', payload)).toBe('EINVAL')
  })
})

describe('quotas of a guest', () => {
  const quota = { ...DEFAULT_QUOTA, nodes: 10, watches: 3, transactions: 2, transactionNodes: 40 }
  const limited = () => {
    const { store } = makeStore(quota)
    const dom0 = clientOf(store, 0)
    dom0.call('MKDIR', `/local/domain/${GUEST}|`)
    dom0.call('SET_PERMS', `/local/domain/${GUEST}|n${GUEST}|`)
    return { dom0, guest: clientOf(store, GUEST) }
  }

  test('nodes: ENOSPC, also in a transaction and for implicit parents; removing gives back', () => {
    const { guest } = limited()
    for (let i = 0; i < 8; i++) expect(guest.call('WRITE', `n${i}|`)).toBe('OK|')
    expect(guest.call('WRITE', 'a/b|')).toBe('ENOSPC')
    expect(guest.call('WRITE', 'a|')).toBe('OK|')
    const id = Number(guest.call('TRANSACTION_START', '|').replace('|', ''))
    expect(guest.call('WRITE', 'b|', id)).toBe('ENOSPC')
    guest.call('RM', 'n0|')
    expect(guest.call('WRITE', 'b|')).toBe('OK|')
    expect(guest.call('WRITE', 'b|other')).toBe('OK|')
  })

  test('watches E2BIG, transactions ENOSPC, a value ENOSPC, permissions ENOSPC', () => {
    const { guest } = limited()
    for (let i = 0; i < 3; i++) expect(guest.call('WATCH', `w${i}|t|`)).toBe('OK|')
    expect(guest.call('WATCH', 'w3|t|')).toBe('E2BIG')
    for (let i = 0; i < 2; i++) expect(guest.call('TRANSACTION_START', '|')).toMatch(/^\d+\|$/)
    expect(guest.call('TRANSACTION_START', '|')).toBe('ENOSPC')
    expect(guest.call('WRITE', `v|${'x'.repeat(2048)}`)).toBe('OK|')
    expect(guest.call('WRITE', `v|${'x'.repeat(2049)}`)).toBe('ENOSPC')
    expect(guest.call('SET_PERMS', `v|n${GUEST}|r1|r2|r4|r5|`)).toBe('OK|')
    expect(guest.call('SET_PERMS', `v|n${GUEST}|r1|r2|r4|r5|r6|`)).toBe('ENOSPC')
  })

  test('what one transaction keeps: paths that it touched and changes, ENOSPC beyond; it can still end', () => {
    const { dom0, guest } = limited()
    const begin = (): number => Number(guest.call('TRANSACTION_START', '|').replace('|', ''))
    const reader = begin()
    let touched = 0
    while (touched < 5000 && guest.call('READ', `n${touched}|`, reader) === 'ENOENT') touched++
    const writer = begin()
    let written = 0
    while (written < 5000 && guest.call('WRITE', `v|${written}`, writer) === 'OK|') written++
    expect([touched, written]).toEqual([quota.transactionNodes - 1, quota.transactionNodes - 2])
    expect([guest.call('READ', 'n0|', reader), guest.call('WRITE', 'v|', writer)]).toEqual(['ENOSPC', 'ENOSPC'])
    expect(guest.call('TRANSACTION_END', 'T|', writer)).toBe('OK|')
    expect(dom0.call('READ', `/local/domain/${GUEST}/v|`)).toBe(String(written - 1))
    expect(guest.call('TRANSACTION_END', 'F|', reader)).toBe('OK|')
  })

  test('do not bind the control domain', () => {
    const { dom0 } = limited()
    for (let i = 0; i < 20; i++) {
      expect(dom0.call('WRITE', `/x/n${i}|${'x'.repeat(4000)}`)).toBe('OK|')
      expect(dom0.call('WATCH', `/x/n${i}|t|`)).toBe('OK|')
    }
  })
})
