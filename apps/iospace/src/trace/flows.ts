/** Which mapping a page of an I/O space belongs to: the arrows of a trace. Holds live mappings only. */

interface Mapping {
  readonly id: number
  pages: number
}

export class FlowTable {
  /** By domain and space, then by page. */
  readonly #spaces = new Map<string, Map<number, Mapping>>()
  #next = 1

  /** A new mapping; its arrow's id. */
  map(domid: number, space: number, ioAddress: number, pages: number): number {
    const key = `${domid} ${space}`
    let table = this.#spaces.get(key)
    if (table === undefined) this.#spaces.set(key, (table = new Map()))
    const mapping = { id: this.#next++, pages }
    const first = Math.floor(ioAddress / 4096)
    for (let page = first; page < first + pages; page++) table.set(page, mapping)
    return mapping.id
  }

  /** Ends pages; the ids of the mappings that have none left. */
  unmap(domid: number, space: number, ioAddress: number, pages: number): number[] {
    const table = this.#spaces.get(`${domid} ${space}`)
    const ended: number[] = []
    const first = Math.floor(ioAddress / 4096)
    for (let page = first; page < first + pages; page++) {
      const mapping = table?.get(page)
      if (mapping === undefined) continue
      table?.delete(page)
      if (--mapping.pages === 0) ended.push(mapping.id)
    }
    return ended
  }

  /** The ids of the mappings that `bytes` bytes from an address on touch, each once. */
  within(domid: number, space: number, ioAddress: number, bytes: number): Set<number> {
    const table = this.#spaces.get(`${domid} ${space}`)
    const found = new Set<number>()
    const last = Math.floor((ioAddress + Math.max(bytes, 1) - 1) / 4096)
    for (let page = Math.floor(ioAddress / 4096); table !== undefined && page <= last; page++) {
      const mapping = table.get(page)
      if (mapping !== undefined) found.add(mapping.id)
    }
    return found
  }
}
