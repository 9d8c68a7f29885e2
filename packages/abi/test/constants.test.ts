import { describe, expect, test } from 'vitest'
import * as abi from '../src/index.ts'
import { xen } from './xen-layout.ts'

/** Our table, the prefix of Xen's names, and names of ours that Xen 4.17 does not have. */
const tables: [string, Readonly<Record<string, number>>, string, string[]?][] = [
  ['HYPERCALL', abi.HYPERCALL, '__HYPERVISOR_', ['iommu_op']],
  ['Errno', abi.Errno, 'XEN_', ['EINTR', 'ERESTART']],
  ['DOMID', abi.DOMID, 'DOMID_'],
  ['XENVER', abi.XENVER, 'XENVER_'],
  ['XENFEAT', abi.XENFEAT, 'XENFEAT_'],
  ['CONSOLEIO', abi.CONSOLEIO, 'CONSOLEIO_'],
  ['XENMEM', abi.XENMEM, 'XENMEM_'],
  ['XENMEMF', abi.XENMEMF, 'XENMEMF_'],
  ['XENMAPSPACE', abi.XENMAPSPACE, 'XENMAPSPACE_'],
  ['XENMEM_RESOURCE', abi.XENMEM_RESOURCE, 'XENMEM_resource_'],
  ['GTF', abi.GTF, 'GTF_'],
  ['GNTTABOP', abi.GNTTABOP, 'GNTTABOP_'],
  ['GNTMAP', abi.GNTMAP, 'GNTMAP_'],
  ['GNTCOPY', abi.GNTCOPY, 'GNTCOPY_'],
  ['GNTST', abi.GNTST, 'GNTST_'],
  ['GNTTAB_RESERVED', abi.GNTTAB_RESERVED, 'GNTTAB_RESERVED_'],
  ['EVTCHNOP', abi.EVTCHNOP, 'EVTCHNOP_'],
  ['EVTCHNSTAT', abi.EVTCHNSTAT, 'EVTCHNSTAT_'],
  ['VIRQ', abi.VIRQ, 'VIRQ_', ['IOMMU_FAULT']],
  ['MMUEXT', abi.MMUEXT, 'MMUEXT_'],
  ['PHYSDEVOP', abi.PHYSDEVOP, 'PHYSDEVOP_', ['pci_device_reset']],
  ['MAP_PIRQ_TYPE', abi.MAP_PIRQ_TYPE, 'MAP_PIRQ_TYPE_'],
  ['XEN_PCI_DEV', abi.XEN_PCI_DEV, 'XEN_PCI_DEV_'],
  ['XEN_DOMCTL', abi.XEN_DOMCTL, 'XEN_DOMCTL_'],
  ['XEN_DOMCTL_CDF', abi.XEN_DOMCTL_CDF, 'XEN_DOMCTL_CDF_'],
  ['XEN_DOMCTL_DEV', abi.XEN_DOMCTL_DEV, 'XEN_DOMCTL_DEV_'],
  ['XEN_DOMINF', abi.XEN_DOMINF, 'XEN_DOMINF_'],
  ['SCHEDOP', abi.SCHEDOP, 'SCHEDOP_'],
  ['SHUTDOWN', abi.SHUTDOWN, 'SHUTDOWN_'],
  ['SIF', abi.SIF, 'SIF_'],
  ['BLKIF_OP', abi.BLKIF_OP, 'BLKIF_OP_'],
  ['BLKIF_RSP', abi.BLKIF_RSP, 'BLKIF_RSP_'],
  ['VDISK', abi.VDISK, 'VDISK_'],
  ['XS', abi.XS, 'XS_'],
  ['XENSTORE', abi.XENSTORE, 'XENSTORE_'],
  ['XENSTORE_CONNECTION', abi.XENSTORE_CONNECTION, 'XENSTORE_'],
  ['XENSTORE_SERVER_FEATURE', abi.XENSTORE_SERVER_FEATURE, 'XENSTORE_SERVER_FEATURE_'],
  ['XENSTORE_ERROR', abi.XENSTORE_ERROR, 'XENSTORE_ERROR_'],
  ['XENBUS_STATE', abi.XENBUS_STATE, 'XenbusState'],
]

describe.each(tables)('%s has the values of Xen 4.17', (_, ours, prefix, newer = []) => {
  test.each(Object.entries(ours).filter(([name]) => !newer.includes(name)))(`%s = %d`, (name, value) => {
    expect(xen.constants[prefix + name]).toBe(value)
  })

  test('what Xen does not have is ours alone', () => {
    for (const name of newer) {
      expect(ours[name]).toBeDefined()
      expect(xen.constants[prefix + name]).toBeUndefined()
    }
  })
})

/** Sets that a guest can meet in full must be complete, or a name for what it met is missing. */
const complete: [string, Readonly<Record<string, number>>, RegExp, string[]?][] = [
  ['Errno', abi.Errno, /^XEN_(E[A-Z0-9]+)$/, ['EDEADLOCK', 'EWOULDBLOCK']],
  ['GNTST', abi.GNTST, /^GNTST_(\w+)$/],
  ['GNTTABOP', abi.GNTTABOP, /^GNTTABOP_(\w+)$/],
  ['EVTCHNOP', abi.EVTCHNOP, /^EVTCHNOP_(\w+)$/],
  ['EVTCHNSTAT', abi.EVTCHNSTAT, /^EVTCHNSTAT_(\w+)$/],
  ['VIRQ', abi.VIRQ, /^VIRQ_(?!ARCH)(\w+)$/],
  ['XENBUS_STATE', abi.XENBUS_STATE, /^XenbusState(\w+)$/],
]

test.each(complete)('%s leaves nothing out', (_, ours, pattern, aliases = []) => {
  const theirs = Object.keys(xen.constants).flatMap((name) => pattern.exec(name)?.[1] ?? [])
  expect(theirs.filter((name) => !(name in ours) && !aliases.includes(name))).toEqual([])
})

const single: [string, number, string][] = [
  ['BIND_PIRQ_WILL_SHARE', abi.BIND_PIRQ_WILL_SHARE, 'BIND_PIRQ__WILL_SHARE'],
  ['BLKIF_MAX_SEGMENTS_PER_REQUEST', abi.BLKIF_MAX_SEGMENTS_PER_REQUEST, 'BLKIF_MAX_SEGMENTS_PER_REQUEST'],
  ['EVTCHN_2L_NR_CHANNELS', abi.EVTCHN_2L_NR_CHANNELS, 'EVTCHN_2L_NR_CHANNELS'],
  ['GNTTAB_NR_RESERVED_ENTRIES', abi.GNTTAB_NR_RESERVED_ENTRIES, 'GNTTAB_NR_RESERVED_ENTRIES'],
  ['MAX_GUEST_CMDLINE', abi.MAX_GUEST_CMDLINE, 'MAX_GUEST_CMDLINE'],
  ['NR_VIRQS', abi.NR_VIRQS, 'NR_VIRQS'],
  ['PAGE_SHIFT', abi.PAGE_SHIFT, 'XEN_PAGE_SHIFT'],
  ['XENMEM_RDM_ALL', abi.XENMEM_RDM_ALL, 'XENMEM_RDM_ALL'],
  ['XEN_DOMCTL_DEV_RDM_RELAXED', abi.XEN_DOMCTL_DEV_RDM_RELAXED, 'XEN_DOMCTL_DEV_RDM_RELAXED'],
  ['XEN_DOMCTL_INTERFACE_VERSION', abi.XEN_DOMCTL_INTERFACE_VERSION, 'XEN_DOMCTL_INTERFACE_VERSION'],
  ['XEN_LEGACY_MAX_VCPUS', abi.XEN_LEGACY_MAX_VCPUS, 'XEN_LEGACY_MAX_VCPUS'],
]

test.each(single)('%s', (_, ours, theirs) => {
  expect(xen.constants[theirs]).toBe(ours)
})

test('our hypercall and virq take numbers that Xen leaves free', () => {
  const taken = (pattern: RegExp): (number | string)[] =>
    Object.entries(xen.constants).flatMap(([name, value]) => (pattern.test(name) ? [value] : []))
  expect(taken(/^__HYPERVISOR_(?!VIRT)/)).not.toContain(abi.HYPERCALL.iommu_op)
  expect(taken(/^VIRQ_/)).not.toContain(abi.VIRQ.IOMMU_FAULT)
  expect(abi.VIRQ.IOMMU_FAULT).toBeLessThan(abi.NR_VIRQS)
})

test('the version is that of real Xen’s answer to xen_version', () => {
  expect(abi.XEN_VERSION).toBe(0x40011)
})

test('names of errors and statuses', () => {
  expect([abi.errnoName(-22), abi.errnoName(22), abi.errnoName(0), abi.errnoName(-9999)]).toEqual([
    'EINVAL',
    'EINVAL',
    undefined,
    undefined,
  ])
  expect([abi.gntstName(0), abi.gntstName(-7), abi.gntstName(-99)]).toEqual(['okay', 'no_device_space', undefined])
})

test('no two errors share a number, and the precedence names each at most once', () => {
  expect(new Set(Object.values(abi.Errno)).size).toBe(Object.keys(abi.Errno).length)
  const order = abi.ERRNO_PRECEDENCE.flat()
  expect(new Set(order).size).toBe(order.length)
  // The order of the design: address, form, right, target, device, space, range, reserved, taken, frame, use, room,
  // quota, reserve, hardware.
  // prettier-ignore
  expect(order).toEqual([
    'EFAULT', 'EINVAL', 'E2BIG', 'EOPNOTSUPP', 'EPERM', 'ESRCH', 'ENODEV', 'ENOENT', 'EOVERFLOW', 'ERANGE', 'EADDRNOTAVAIL',
    'EADDRINUSE', 'ENXIO', 'EACCES', 'ENOSPC', 'ENOBUFS', 'ENOMEM', 'EIO',
  ])
})

test('tables of constants are frozen', () => {
  for (const [name, table] of tables) expect(Object.isFrozen(table), name).toBe(true)
})
