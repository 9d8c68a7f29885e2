/**
 * What is the same in every iommu_op: the copy-in of struct and list, once; the checks of size, flags, padding and list, in the order of the
 * fields; the rights. An EFAULT beats them all, and after it nothing has happened. Source: docs/spec, “Rules of every iommu_op”.
 */
import { Errno, IOMMU_HEADER_WORDS, IOMMU_SUBOPS, iommu_list } from '@iospace/abi'
import { ConfigError, type Struct } from '@iospace/wire'
import { ARGUMENT_BYTES, type Call, MAX_BATCH, MAX_STRIDE, type OpenList } from '../call.ts'
import type { Domain } from '../domain.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { flags: FLAGS_WORD, domid: DOMID_WORD } = IOMMU_HEADER_WORDS
const MOST = MAX_BATCH

/** `size` and `flags`. */
const FIRST_BYTES = 8

/** A sub-op as the dispatcher uses it. */
interface Rules {
  /** Bytes of the version 1 struct, and of a list element. */
  readonly size: number
  readonly elementSize: number
  readonly knownFlags: number
  /** Word, mask by padding: what must be zero. */
  readonly pads: Int32Array
  /** Byte offset of the list; −1: none. */
  readonly list: number
  /** Who may: the domain itself, the control domain. */
  readonly self: boolean
  readonly control: boolean
}

const RULES: readonly (Rules | undefined)[] = (() => {
  const rules: Rules[] = []
  for (const subop of IOMMU_SUBOPS) {
    const { struct } = subop
    rules[subop.number] = {
      size: struct.size,
      elementSize: subop.elementSize,
      knownFlags: subop.knownFlags,
      pads: padMasks(struct),
      list: subop.elementSize === 0 ? -1 : listOffset(struct),
      self: subop.rights.self,
      control: subop.rights.control,
    }
  }
  return rules
})()

/** Why a call was refused, or the domain that it is about. */
export type Opened = Domain | number

/**
 * Copies in and checks an iommu_op: the target domain, or a negative errno. The struct is at `call.at`, `list` elements at `call.listAt`; both
 * stay held until the call ends.
 */
export function open(call: Call, number: number, pointer: number): Opened {
  const { core, caller, words: w, elements: list } = call
  const rules = RULES[number]
  if (rules === undefined) return -Errno.EOPNOTSUPP
  const base = call.at >>> 2
  const known = rules.size
  const { argument } = call
  if (!argument.takeStruct(core.frames, caller.p2m, core.memory, pointer, known, call.at)) {
    const wrong = takeUncommon(call, pointer, known)
    if (wrong !== 0) return wrong
  }
  list.count = 0
  let rc = 0
  if (rules.list >= 0) {
    rc = checkList(call, rules, list)
    if (rc === 0 && !takeList(call, rules, list)) return -Errno.EFAULT
  }
  for (let at = known; at < argument.length; at++) if (core.memory.bytes[call.at + at] !== 0) return -Errno.E2BIG
  if ((w[base + FLAGS_WORD]! & ~rules.knownFlags) !== 0) return -Errno.EOPNOTSUPP
  const { pads } = rules
  for (let i = 0; i < pads.length; i += 2) if ((w[base + pads[i]!]! & pads[i + 1]!) !== 0) return -Errno.EINVAL
  if (rc !== 0) return rc
  return authorise(call, rules, w[base + DOMID_WORD]! & 0xffff)
}

/** Holds and copies a struct that crosses pages, is longer or shorter than ours, or cannot be held at all: 0 or a negative errno. */
function takeUncommon(call: Call, pointer: number, known: number): number {
  const { core, caller } = call
  if (!core.guest.copyIn(caller.p2m, pointer, call.at, FIRST_BYTES)) return -Errno.EFAULT
  const size = call.words[call.at >>> 2]! >>> 0
  if (size < known) return -Errno.EINVAL
  if (size > ARGUMENT_BYTES) return -Errno.E2BIG
  if (!call.argument.take(core.frames, caller.p2m, pointer, size, true)) return -Errno.EFAULT
  // `size` is not fetched again: it may have changed.
  call.argument.copyIn(core.memory, FIRST_BYTES, call.at + FIRST_BYTES, size - FIRST_BYTES)
  return 0
}

/** The one check of rights: before any look-up, so that nothing is learnt from it. */
function authorise({ core, caller }: Call, rules: Rules, domid: number): Opened {
  const found = core.find(caller, domid)
  const allowed = (rules.self && found === caller) || (rules.control && caller.privileged)
  if (!allowed) return -Errno.EPERM
  return found === undefined || found.dying ? -Errno.ESRCH : found
}

function checkList({ words: w, at }: Call, rules: Rules, list: OpenList): number {
  const word = (at + rules.list) >>> 2
  list.count = w[word + 2]! >>> 0
  list.stride = w[word + 3]! >>> 0
  if (list.count > MOST) return -Errno.E2BIG
  if (list.count > 0 && (list.stride < rules.elementSize || list.stride > MAX_STRIDE || list.stride % 8 !== 0))
    return -Errno.EINVAL
  return 0
}

/** Holds the array and copies the version 1 part of its elements in, behind one another; notes where a tail is not zero. */
function takeList(call: Call, rules: Rules, list: OpenList): boolean {
  const { core, caller, words: w } = call
  if (list.count === 0) return true
  const word = (call.at + rules.list) >>> 2
  const pointer = (w[word + 1]! >>> 0) * 2 ** 32 + (w[word]! >>> 0)
  const { stride, count } = list
  const size = rules.elementSize
  if (
    stride === size &&
    w[word + 1] === 0 &&
    call.list.takeArray(core.frames, caller.p2m, core.memory, w[word]!, count * size, call.listAt)
  )
    return true
  if (!call.list.take(core.frames, caller.p2m, pointer, count * stride, true)) return false
  if (stride === size) {
    call.list.copyIn(core.memory, 0, call.listAt, count * size)
    return true
  }
  for (let i = 0; i < count; i++) {
    call.list.copyIn(core.memory, i * stride, call.listAt + i * size, size)
    list.tails[i] = call.list.isZero(core.memory, i * stride + size, stride - size) ? 0 : 1
  }
  return true
}

/** Words and masks of a struct's padding. */
export function padMasks(struct: Struct): Int32Array {
  const masks: number[] = []
  for (const { offset, type } of struct.layout.fields) {
    if (type.kind !== 'pad') continue
    for (let at = offset; at < offset + type.size; at++) {
      const word = at >>> 2
      const byte = 0xff << (8 * (at & 3))
      const known = masks.findIndex((entry, i) => i % 2 === 0 && entry === word)
      if (known >= 0) masks[known + 1]! |= byte
      else masks.push(word, byte)
    }
  }
  return Int32Array.from(masks)
}

function listOffset(struct: Struct): number {
  const field = struct.layout.fields.find(({ type }) => type.kind === 'struct' && type.name === iommu_list.name)
  if (field === undefined) throw new ConfigError('iommu_op', struct.name, 'has list elements but no list')
  return field.offset
}
