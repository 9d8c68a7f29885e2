/**
 * One 32-bit value per I/O page, sparse: a radix tree of 512-entry nodes in one growing array. 0 is “nothing”. Page numbers are below 2^31.
 * Nodes that became empty stay linked for a while, since an address that was freed is soon used again.
 */

const NODE = 512
/** Empty leaves that stay linked. */
const LINGER = 64

export class PageTree {
  #pool = new Int32Array(4 * NODE)
  /** Non-zero entries by node; node 0 is not used. */
  #count = new Int32Array(4)
  /** page >> 9 of a leaf, or page >> 18 of a middle node. */
  #key = new Int32Array(4)
  #used = 1
  readonly #free: number[] = []
  /** Middle node by page >> 18. */
  #root = new Int32Array(4)
  readonly #empty = new Int32Array(LINGER)
  #emptyAt = 0
  #lingering = new Uint8Array(4)
  #lastKey = -1
  #lastLeaf = 0

  /** The value at `page`; 0 when there is none. */
  get(page: number): number {
    const key = page >>> 9
    const leaf = key === this.#lastKey ? this.#lastLeaf : this.#find(key)
    return leaf === 0 ? 0 : this.#pool[(leaf << 9) | (page & 511)]!
  }

  set(page: number, value: number): void {
    const key = page >>> 9
    let leaf = key === this.#lastKey ? this.#lastLeaf : this.#find(key)
    if (leaf === 0) {
      if (value === 0) return
      leaf = this.#make(key)
    }
    const at = (leaf << 9) | (page & 511)
    const old = this.#pool[at]!
    this.#pool[at] = value
    if (old === 0) {
      if (value !== 0) this.#count[leaf]!++
    } else if (value === 0 && --this.#count[leaf]! === 0) this.#emptied(leaf)
  }

  /** Sets the value (not 0) at `page` if there is none; false when there is. */
  claim(page: number, value: number): boolean {
    const key = page >>> 9
    let leaf = key === this.#lastKey ? this.#lastLeaf : this.#find(key)
    if (leaf === 0) leaf = this.#make(key)
    const at = (leaf << 9) | (page & 511)
    if (this.#pool[at] !== 0) return false
    this.#pool[at] = value
    this.#count[leaf]!++
    return true
  }

  /** Adds `bits` to the value at `page` if its bits in `mask` are `wanted`; false, with nothing changed, when they are not. */
  mark(page: number, mask: number, wanted: number, bits: number): boolean {
    const key = page >>> 9
    const leaf = key === this.#lastKey ? this.#lastLeaf : this.#find(key)
    const at = (leaf << 9) | (page & 511)
    if (leaf === 0 || (this.#pool[at]! & mask) !== wanted) return false
    this.#pool[at]! |= bits
    return true
  }

  /** Takes the value at `page` away and returns it. */
  take(page: number): number {
    const key = page >>> 9
    const leaf = key === this.#lastKey ? this.#lastLeaf : this.#find(key)
    if (leaf === 0) return 0
    const at = (leaf << 9) | (page & 511)
    const old = this.#pool[at]!
    if (old !== 0) {
      this.#pool[at] = 0
      if (--this.#count[leaf]! === 0) this.#emptied(leaf)
    }
    return old
  }

  /** Clears `bits` of the value at `page`. */
  unmark(page: number, bits: number): void {
    this.set(page, this.get(page) & ~bits)
  }

  /** The last page of [`page`, `page` + `pages`) with a value; −1 when all are free. */
  lastTaken(page: number, pages: number): number {
    let at = page + pages - 1
    while (at >= page) {
      const key = at >>> 9
      const leaf = key === this.#lastKey ? this.#lastLeaf : this.#find(key)
      const first = Math.max(page, key * NODE)
      if (leaf === 0 || this.#count[leaf] === 0) at = first - 1
      else {
        for (; at >= first; at--) if (this.#pool[(leaf << 9) | (at & 511)] !== 0) return at
      }
    }
    return -1
  }

  /** The first free page in [`page`, `end`), or `end`. */
  nextFree(page: number, end: number): number {
    while (page < end) {
      const key = page >>> 9
      const leaf = key === this.#lastKey ? this.#lastLeaf : this.#find(key)
      if (leaf === 0) return page
      const stop = Math.min(end, (key + 1) * NODE)
      if (this.#count[leaf] === NODE) page = stop
      else for (; page < stop; page++) if (this.#pool[(leaf << 9) | (page & 511)] === 0) return page
    }
    return end
  }

  /** The first page from `page` on with a value; −1 when there is none. */
  nextTaken(page: number): number {
    for (let top = page >>> 18; top < this.#root.length; top++) {
      const middle = this.#root[top]!
      if (middle === 0) continue
      for (let at = Math.max(page, top * NODE * NODE); at < (top + 1) * NODE * NODE; at = at - (at % NODE) + NODE) {
        const leaf = this.#pool[(middle << 9) | ((at >>> 9) & 511)]!
        if (leaf === 0 || this.#count[leaf] === 0) continue
        for (let i = at & 511; i < NODE; i++) if (this.#pool[leaf * NODE + i] !== 0) return at - (at & 511) + i
      }
    }
    return -1
  }

  #find(key: number): number {
    const middle = this.#root[key >>> 9]
    if (middle === undefined || middle === 0) return 0
    const leaf = this.#pool[(middle << 9) | (key & 511)]!
    if (leaf !== 0) {
      this.#lastKey = key
      this.#lastLeaf = leaf
    }
    return leaf
  }

  #make(key: number): number {
    const top = key >>> 9
    if (top >= this.#root.length) {
      const root = this.#root
      this.#root = new Int32Array(Math.max(root.length * 2, top + 1))
      this.#root.set(root)
    }
    let middle = this.#root[top]!
    if (middle === 0) {
      middle = this.#node(top)
      this.#root[top] = middle
    }
    const leaf = this.#node(key)
    this.#pool[(middle << 9) | (key & 511)] = leaf
    this.#count[middle]!++
    this.#lastKey = key
    this.#lastLeaf = leaf
    return leaf
  }

  #node(key: number): number {
    let node = this.#free.pop()
    if (node === undefined) {
      node = this.#used++
      if (node === this.#count.length) this.#grow()
    }
    this.#key[node] = key
    this.#count[node] = 0
    return node
  }

  #emptied(leaf: number): void {
    if (this.#lingering[leaf] === 1) return
    this.#lingering[leaf] = 1
    const oldest = this.#empty[this.#emptyAt]!
    this.#empty[this.#emptyAt] = leaf
    this.#emptyAt = (this.#emptyAt + 1) % LINGER
    if (oldest === 0) return
    this.#lingering[oldest] = 0
    if (this.#count[oldest] === 0) this.#unlink(oldest)
  }

  #unlink(leaf: number): void {
    const key = this.#key[leaf]!
    if (key === this.#lastKey) this.#lastKey = -1
    const top = key >>> 9
    const middle = this.#root[top]!
    this.#pool[(middle << 9) | (key & 511)] = 0
    this.#free.push(leaf)
    if (--this.#count[middle]! === 0) {
      this.#root[top] = 0
      this.#free.push(middle)
    }
  }

  #grow(): void {
    const nodes = this.#count.length * 2
    const pool = this.#pool
    this.#pool = new Int32Array(nodes * NODE)
    this.#pool.set(pool)
    const count = this.#count
    this.#count = new Int32Array(nodes)
    this.#count.set(count)
    const key = this.#key
    this.#key = new Int32Array(nodes)
    this.#key.set(key)
    const lingering = this.#lingering
    this.#lingering = new Uint8Array(nodes)
    this.#lingering.set(lingering)
  }
}
