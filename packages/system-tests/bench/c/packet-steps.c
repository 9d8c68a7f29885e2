/* The strict receive path of a 1500-byte packet with the very same steps and data structures as iospace's packages take (P8): what those
   steps cost in C. Boundaries that are interfaces there (hypercall gate, IOMMU driver, register block, timer, translator, domain of the
   DMA layer) are function pointers here; everything else the compiler may join. Batches of B packets per pair of hypercalls. */
#include "bench.h"
#include <math.h>
#include <stdbool.h>
#define N 4096u
#define LOW 8192u
#define HIGH 8192u
#define FRAMES (LOW + HIGH)
#define HIGH_FRAME 0x100000u
#define BOARD ((uint64_t)FRAMES << 12)
#define MEM (BOARD + (2u << 20))
#define BUFFERS 256u
#define DOM0 0u
#define SELF 0x7ff0u
#define SPACE 3u
typedef int64_t s64; typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64; typedef int32_t s32;
static u8 *mem;
static inline u32 ld(u64 at) { u32 v; memcpy(&v, mem + at, 4); return v; }
static inline void st(u64 at, u32 v) { memcpy(mem + at, &v, 4); }
static inline u64 ld64(u64 at) { u64 v; memcpy(&v, mem + at, 8); return v; }
static inline void st64(u64 at, u64 v) { memcpy(mem + at, &v, 8); }
static inline s32 frame_index(u64 mfn) {
  if (mfn < LOW) return (s32)mfn;
  mfn -= HIGH_FRAME;
  return mfn < HIGH ? (s32)(mfn + LOW) : -1;
}
static inline u64 frame_at(u32 index) { return index < LOW ? index : index - LOW + HIGH_FRAME; }

/* --- the clock: counters, virtual time, a heap of timers ------------------------------------------------------------------------ */
enum { HYPERCALL, MMIO_READ, MMIO_WRITE, TABLE_STORE, CACHE_FLUSH, RELAX, DMA_READ, DMA_WRITE, DMA_BYTE, TRANSLATED_BYTE, IOTLB_HIT,
  IOTLB_MISS, CONTEXT_HIT, CONTEXT_MISS, WALK_READ, INVALIDATION, DMA_FAULT, COUNTS };
static const double cost[COUNTS] = {150, 500, 60, 2, 40, 40};
struct timer { double due; u64 sequence; s32 at; void (*action)(void); };
static struct { double now, due, counts[COUNTS]; struct timer *heap[16]; u32 n; u64 sequence; bool running; } ck = {.due = INFINITY};
static bool before(struct timer *a, struct timer *b) { return a->due < b->due || (a->due == b->due && a->sequence < b->sequence); }
static void rise(struct timer *t, u32 at) {
  for (; at > 0 && before(t, ck.heap[(at - 1) / 2]); at = (at - 1) / 2) { ck.heap[at] = ck.heap[(at - 1) / 2]; ck.heap[at]->at = (s32)at; }
  ck.heap[at] = t; t->at = (s32)at;
}
static void sink_(struct timer *t, u32 at) {
  for (u32 c; (c = 2 * at + 1) < ck.n; at = c) {
    if (c + 1 < ck.n && before(ck.heap[c + 1], ck.heap[c])) c++;
    if (!before(ck.heap[c], t)) break;
    ck.heap[at] = ck.heap[c]; ck.heap[at]->at = (s32)at;
  }
  ck.heap[at] = t; t->at = (s32)at;
}
static void timer_remove(struct timer *t) {
  struct timer *last = ck.heap[--ck.n];
  u32 at = (u32)t->at;
  if (last != t) { if (at > 0 && before(last, ck.heap[(at - 1) / 2])) rise(last, at); else sink_(last, at); }
  t->at = -1;
  ck.due = ck.n ? ck.heap[0]->due : INFINITY;
}
static void timer_start(struct timer *t, double delay) {
  if (t->at >= 0) timer_remove(t);
  t->due = ck.now + (delay > 0 ? delay : 0); t->sequence = ck.sequence++;
  rise(t, ck.n++);
  ck.due = ck.heap[0]->due;
}
static struct { u32 held; bool waiting; u32 requested[8]; } irq;
static void deliver(void) { if (!irq.waiting || irq.held || ck.running) return; irq.waiting = false; }
static __attribute__((noinline)) void run_due(void) {
  if (ck.running) return;
  ck.running = true;
  while (ck.n && ck.heap[0]->due <= ck.now) { struct timer *t = ck.heap[0]; timer_remove(t); t->action(); }
  ck.running = false;
  deliver();
}
static inline void charge(u32 kind, double times) { ck.counts[kind] += times; if ((ck.now += cost[kind] * times) >= ck.due) run_due(); }

/* --- set-associative translation cache and context cache ------------------------------------------------------------------------- */
struct entry { u32 page, tag, frame, unused; };
struct bank { bool used; u32 mask, ways; struct entry *e; };
static void bank_make(struct bank *b, u32 sets, u32 ways) { b->mask = sets - 1; b->ways = ways; b->e = calloc(sets * ways, sizeof *b->e); }
static inline struct entry *bank_set(struct bank *b, u32 domain, u64 page) { return b->e + (((u32)page ^ domain * 0x9e37u) & b->mask) * b->ways; }
static inline u32 bank_tag(u32 domain, u64 page) { return domain | (u32)(page >> 32) << 16; }
static s32 bank_behind(struct bank *b, struct entry *s, u32 page, u32 tag, u32 mask) {
  for (u32 i = 1; i < b->ways; i++) {
    if (((s[i].page ^ page) & mask) || s[i].tag != tag) continue;
    struct entry hit = s[i];
    for (; i > 0; i--) s[i] = s[i - 1];
    s[0] = hit;
    return (s32)hit.frame;
  }
  return -1;
}
static inline s32 bank_find(struct bank *b, u32 domain, u64 page, u32 need) {
  struct entry *s = bank_set(b, domain, page);
  u32 want = (u32)page | 3, tag = bank_tag(domain, page), mask = need | ~3u;
  if (!((s->page ^ want) & mask) && s->tag == tag) return (s32)s->frame;
  return bank_behind(b, s, want, tag, mask);
}
static void bank_insert(struct bank *b, u32 domain, u64 page, u32 rights, u32 frame) {
  struct entry *s = bank_set(b, domain, page);
  u32 tag = bank_tag(domain, page), place = b->ways;
  for (u32 i = 0; i < b->ways; i++) {
    if (!((s[i].page ^ (u32)page) & ~3u) && s[i].page && s[i].tag == tag) { place = i; break; }
    if (!s[i].page && place == b->ways) place = i;
  }
  if (place == b->ways) place--;
  for (; place > 0; place--) s[place] = s[place - 1];
  s[0] = (struct entry){((u32)page & ~3u) | rights, tag, frame, 0};
  b->used = true;
}
static void bank_drop_page(struct bank *b, u32 domain, u64 page) {
  struct entry *s = bank_set(b, domain, page);
  u32 tag = bank_tag(domain, page);
  for (u32 i = 0; i < b->ways; i++)
    if (!((s[i].page ^ (u32)page) & ~3u) && (s[i].page & 3) && s[i].tag == tag) { s[i].page = 0; return; }
}
static void bank_drop_domain(struct bank *b, u32 domain) {
  if (!b->used) return;
  for (u32 i = 0; i < (b->mask + 1) * b->ways; i++) if ((b->e[i].page & 3) && (b->e[i].tag & 0xffff) == domain) b->e[i].page = 0;
}

/* --- the unit's hardware ----------------------------------------------------------------------------------------------------------- */
enum { REG_GSTS = 7, REG_FSTS = 13, REG_IQH = 32, REG_IQT = 34, REG_ICS = 39, REGISTERS = 64 };
static u32 reg[REGISTERS], reg_writable[REGISTERS], reg_clearable[REGISTERS], reg_hidden[REGISTERS];
static struct bank iotlb, iotlb2m, iotlb1g, directories;
static struct { double at, length, time; } posted[16];
static u32 posted_n;
static struct { u32 frame, bytes, head, until; bool enabled; } iq;
static struct timer iq_timer;
static struct { bool translating, silent; s32 selected; u32 domain, levels, table; u64 beyond; } unit;
static u32 walk_rights, walk_leaf, walk_granted, walk_reads;
static u32 root_frame;
static inline void posted_record(u64 at, u32 length) {
  u32 slot = posted_n & 15;
  posted[slot].at = (double)at; posted[slot].length = length; posted[slot].time = ck.now;
  posted_n = posted_n == 31 ? 16 : posted_n + 1;
}
static inline u64 entry_at(u64 mfn, u32 index) {
  if (mfn < LOW) return mfn << 12 | index << 3;
  s32 f = frame_index(mfn);
  return f < 0 ? ~0ull : (u64)f << 12 | index << 3;
}
#define RESERVED_HIGH 0xfff0000000000000ull
static s64 walk(u32 table, u32 top, u64 iova, u32 need, u32 rights) {
  u64 at = entry_at(table, (u32)(iova >> (3 + 9 * top)) & 511);
  u32 leaf = table, granted = rights;
  for (s32 shift = 9 * (s32)top - 6;; shift -= 9) {
    if (at == ~0ull) return -7;
    u64 e = ld64(at);
    if ((e & need) != need || (e & 0x880) || (e & RESERVED_HIGH)) return need == 2 ? -5 : -6;
    u64 frame = (e & 0xffffffffff000ull) >> 12;
    if (shift < 12) {
      if (frame >> 8 == 0xfee) return -14;
      walk_reads += top; walk_granted = granted; walk_rights = granted & (u32)e & 3; walk_leaf = leaf;
      return (s64)frame;
    }
    granted &= (u32)e; leaf = (u32)frame;
    at = entry_at(frame, (u32)(iova >> shift) & 511);
  }
}
static __attribute__((noinline)) s32 miss(u64 iova, u32 need) {
  if (iotlb2m.used && bank_find(&iotlb2m, unit.domain, iova >> 21, need) != -1) return -1;
  if (iotlb1g.used && bank_find(&iotlb1g, unit.domain, iova >> 30, need) != -1) return -1;
  ck.counts[IOTLB_MISS]++;
  s32 table = bank_find(&directories, unit.domain, iova >> 21, 3);
  s64 mfn = table >= 0 ? walk((u32)table, 1, iova, need, 3) : walk(unit.table, unit.levels, iova, need, 3);
  ck.counts[WALK_READ] += walk_reads; walk_reads = 0;
  if (mfn < 0) return -1;
  s32 index = frame_index((u64)mfn);
  bank_insert(&iotlb, unit.domain, iova >> 12, walk_rights, index < 0 ? 0x7fffffffu : (u32)index);
  if (table < 0 && walk_granted == 3) bank_insert(&directories, unit.domain, iova >> 21, 3, walk_leaf);
  return index;
}
static inline s32 translate(u32 requester, u64 iova, u32 need) {
  if ((s32)requester != unit.selected || (iova & unit.beyond)) return -1;
  s32 f = bank_find(&iotlb, unit.domain, iova >> 12, need);
  if (f >= 0) { ck.counts[IOTLB_HIT]++; return f; }
  if (iova >> 20 == 0xfee) return -1;
  return miss(iova, need);
}
static inline void move(u64 to, u64 from, u32 length) { memcpy(mem + to, mem + from, length); }
static int vtd_read(u32 requester, u64 iova, u64 at, u32 length) {
  if ((iova & 4095) + length > 4096 || length == 0) return -1;
  s32 f = translate(requester, iova, 1);
  if (f < 0) return -1;
  move(at, (u64)f << 12 | (iova & 4095), length);
  return 2;
}
static int vtd_write(u32 requester, u64 iova, u64 at, u32 length) {
  if ((iova & 4095) + length > 4096) return -1;
  s32 f = translate(requester, iova, 2);
  if (f < 0) return -1;
  u64 to = (u64)f << 12 | (iova & 4095);
  move(to, at, length);
  posted_record(to, length);
  return 2;
}
static bool iq_execute(u32 head) {
  u64 at = entry_at(iq.frame + (head >> 12), (head & 4095) >> 3);
  if (at == ~0ull) return false;
  u32 w0 = ld(at), w1 = ld(at + 4), w2 = ld(at + 8), w3 = ld(at + 12);
  switch (w0 & 15) {
  case 2:
    if ((w0 & 0xff00) | w1 | (w2 & 0xf80)) return false;
    ck.counts[INVALIDATION]++;
    if (w0 & 0x40) posted_n = 0;
    if ((w0 & 0x70) == 0x70 && (w2 & 0x7f) == 0x40) {
      u64 iova = (u64)w3 << 32 | (w2 & ~4095u);
      bank_drop_page(&iotlb, w0 >> 16, iova >> 12);
      if (iotlb2m.used) bank_drop_page(&iotlb2m, w0 >> 16, iova >> 21);
      if (iotlb1g.used) bank_drop_page(&iotlb1g, w0 >> 16, iova >> 30);
      return true;
    }
    if ((w0 & 0x70) == 0x70 && (w2 & 0x3f) <= 6) {
      u64 page = ((u64)w3 << 20 | w2 >> 12) >> (w2 & 0x3f) << (w2 & 0x3f);
      for (u32 i = 0; i < 1u << (w2 & 0x3f); i++) bank_drop_page(&iotlb, w0 >> 16, page + i);
      if (iotlb2m.used) bank_drop_page(&iotlb2m, w0 >> 16, page >> 9);
      if (iotlb1g.used) bank_drop_page(&iotlb1g, w0 >> 16, page >> 18);
      if (!(w2 & 0x40)) bank_drop_domain(&directories, w0 >> 16);
      return true;
    }
    if ((w0 & 0x30) != 0x20) return false;
    bank_drop_domain(&iotlb, w0 >> 16); bank_drop_domain(&iotlb2m, w0 >> 16); bank_drop_domain(&iotlb1g, w0 >> 16);
    bank_drop_domain(&directories, w0 >> 16);
    return true;
  case 5:
    if ((w0 & 0xffffff80u) | (w2 & 3)) return false;
    if (w0 & 0x20) {
      u64 s = w3 >> 20 == 0 ? entry_at((u64)w3 << 20 | w2 >> 12, (w2 & 4095) >> 3) : ~0ull;
      if (s != ~0ull) st(s + (w2 & 4), w1);
    }
    if (!(w0 & 0x10) || reg[REG_ICS]) return true;
    reg[REG_ICS] = 1;
    return true;
  default: return false;
  }
}
static void iq_start(void) {
  u32 tail = reg[REG_IQT];
  if (!iq.enabled || iq_timer.at >= 0 || iq.head == tail || (reg[REG_FSTS] & 0x10)) return;
  iq.until = tail;
  timer_start(&iq_timer, 160 + 10 * (double)((((tail - iq.head) & (iq.bytes - 1)) >> 4) - 1));
}
static void iq_run(void) {
  u32 head = iq.head;
  for (; head != iq.until; head = (head + 16) & (iq.bytes - 1))
    if (iq.until >= iq.bytes || !iq_execute(head)) { iq.head = reg[REG_IQH] = head; reg[REG_FSTS] |= 0x10; return; }
  iq.head = reg[REG_IQH] = head;
  if (reg[REG_IQT] != head) iq_start();
}
static u32 vtd_read32(u32 offset) { return reg[offset >> 2] & ~reg_hidden[offset >> 2]; }
static void vtd_write32(u32 offset, u32 value) {
  u32 at = offset >> 2;
  if (at >= REGISTERS) return;
  reg[at] = ((reg[at] & ~reg_writable[at]) | (value & reg_writable[at])) & ~(value & reg_clearable[at]);
  switch (at) { case REG_IQT: iq_start(); return; default: return; }
}

/* --- buses ---------------------------------------------------------------------------------------------------------------------------- */
struct region { u64 base, end; u32 (*read32)(u32); void (*write32)(u32, u32); };
static struct region regions[2], *last_region;
static struct region *region_of(u64 address) {
  if (address & 3) return NULL;
  if (last_region && address >= last_region->base && address < last_region->end) return last_region;
  for (u32 i = 0; i < 2; i++) if (address >= regions[i].base && address < regions[i].end) return last_region = regions + i;
  return NULL;
}
static u32 mmio_read32(u64 a) { charge(MMIO_READ, 1); struct region *r = region_of(a); return r ? r->read32((u32)(a - r->base)) : ~0u; }
static void mmio_write32(u64 a, u32 v) { charge(MMIO_WRITE, 1); struct region *r = region_of(a); if (r) r->write32((u32)(a - r->base), v); }
static struct { int (*read)(u32, u64, u64, u32), (*write)(u32, u64, u64, u32); } *translator;
static void *volatile trace;
static struct { bool mastering; u32 requester; double moved, translated; u64 wire, descriptor; u32 packets; } nic;
static int account(u32 length, int outcome) {
  if (outcome > 0) {
    ck.counts[DMA_BYTE] += length; nic.moved += length;
    if (outcome == 2) { ck.counts[TRANSLATED_BYTE] += length; nic.translated += length; }
  }
  if (trace) abort();
  return outcome;
}
static int dma_read(u64 iova, u64 at, u32 length) {
  ck.counts[DMA_READ]++;
  return account(length, nic.mastering ? translator->read(nic.requester, iova, at, length) : -3);
}
static int dma_write(u64 iova, u64 at, u32 length) {
  ck.counts[DMA_WRITE]++;
  return account(length, nic.mastering ? translator->write(nic.requester, iova, at, length) : -3);
}
static __attribute__((noinline)) u32 nic_receive(u64 ring, u32 count) {
  u32 failed = 0;
  u64 at = nic.descriptor;
  for (u32 i = 0; i < count; i++) {
    u64 d = ring + i * 16, slot = nic.wire + (nic.packets++ & 15) * 2048;
    failed += dma_read(d, at, 16) < 0;
    failed += dma_write(ld64(at), slot, 1500) < 0;
    st(at + 8, 1); st(at + 12, 1500);
    failed += dma_write(d + 8, at + 8, 8) < 0;
  }
  return failed;
}

/* --- the unit's driver: tables, queue --------------------------------------------------------------------------------------------------- */
#define VTD_BASE 0xfed90000ull
static struct bank leaves;
static u32 tables_root = 0, tables_levels = 4, dirty_lines, queue_frame, status_frame, queue_tail, queue_pending, queue_sequence;
static struct { u32 table; u64 iova, pages; } range;
static bool changed_directories, coherent = false;
static inline u64 port_at(u32 mfn, u32 index) {
  if (mfn < LOW) return (u64)mfn << 12 | index << 3;
  s32 f = frame_index(mfn);
  if (f < 0) abort();
  return (u64)f << 12 | index << 3;
}
static void publish(u32 mfn, u32 index, u64 value) {
  if (dirty_lines) abort();
  u64 at = port_at(mfn, index);
  if (coherent) { st64(at, value); charge(TABLE_STORE, 1); return; }
  ck.counts[TABLE_STORE]++; ck.counts[CACHE_FLUSH]++;
  if ((ck.now += cost[TABLE_STORE] + cost[CACHE_FLUSH]) >= ck.due) run_due();
  st64(at, value);
}
static u32 free_tables = 1024;
static u32 table_for(u64 iova) {
  u32 f = tables_root;
  for (u32 l = tables_levels; l > 1; l--) {
    u32 i = (u32)(iova >> (3 + 9 * l)) & 511;
    u64 e = ld64(port_at(f, i));
    if (!(e & 3)) { e = (u64)free_tables++ << 12 | 3; publish(f, i, e); }
    else if (e & 0x80) abort();
    f = (u32)(e >> 12);
  }
  return f;
}
static u32 leaf_for(u32 table, u64 iova) {
  s32 leaf = bank_find(&leaves, table, iova >> 21, 3);
  if (leaf < 0) bank_insert(&leaves, table, iova >> 21, 3, (u32)(leaf = (s32)table_for(iova)));
  return (u32)leaf;
}
static u64 width_beyond[256];
static int vtd_map(u32 table, u64 iova, u64 mfn, u32 pages, u32 access) {
  if ((iova & width_beyond[table]) || pages != 1 || !(access & 3)) return -4;
  u32 leaf = leaf_for(table, iova), index = (u32)(iova >> 12) & 511;
  if (dirty_lines || (ld64(port_at(leaf, index)) & 3)) abort();
  publish(leaf, index, mfn << 12 | (access & 3));
  return 0;
}
static int vtd_unmap(u32 table, u64 iova, u32 pages) {
  if ((iova & width_beyond[table]) || pages != 1) return -4;
  publish(leaf_for(table, iova), (u32)(iova >> 12) & 511, 0);
  return 0;
}
static void queue_store(u32 w0, u32 w1, u64 w23) {
  u64 at = port_at(queue_frame, queue_tail * 2);
  st(at, w0); st(at + 4, w1); st64(at + 8, w23);
  charge(TABLE_STORE, 1);
  queue_tail = (queue_tail + 1) & 255;
  queue_pending++;
}
static u32 covering(u64 first, u64 last) { u32 order = 0; while (first != last) { first >>= 1; last >>= 1; order++; } return order; }
static int queue_range(void) {
  if (!range.table) return 0;
  u32 table = range.table;
  range.table = 0;
  if (changed_directories || queue_pending >= 254) return -2;
  u64 first = range.iova >> 12, last = first + range.pages - 1;
  u32 order = covering(first, last);
  if (order <= 1 || 1ull << order <= 2 * range.pages) {
    queue_store(2 | 0x30 | 0xc0 | table << 16, 0, first >> order << order << 12 | 0x40 | order);
    return 0;
  }
  /* Both halves on the sides of the highest border inside the range are covered by blocks of less than twice their size. */
  u64 border = last >> (order - 1) << (order - 1);
  u32 low = covering(first, border - 1), high = covering(border, last);
  queue_store(2 | 0x30 | 0xc0 | table << 16, 0, first >> low << low << 12 | 0x40 | low);
  queue_store(2 | 0x30 | 0xc0 | table << 16, 0, border >> high << high << 12 | 0x40 | high);
  return 0;
}
static int vtd_queue(u32 table, u64 iova, u32 pages) {
  if (range.table) {
    if (range.table == table && iova == range.iova + (range.pages << 12)) { range.pages += pages; return 0; }
    int status = queue_range();
    if (status) return status;
  }
  range.table = table; range.iova = iova; range.pages = pages;
  return 0;
}
static int vtd_queue_table(u32 table) {
  if (range.table == table) range.table = 0;
  queue_store(2 | 0x20 | 0xc0 | table << 16, 0, 0);
  return 0;
}
static int vtd_complete(void) {
  int status = queue_range();
  if (status || queue_pending == 0) return status;
  double deadline = ck.now + 10e6;
  if (queue_pending > 254) return -2;
  u32 sequence = ++queue_sequence;
  queue_store(5 | 0x20 | 0x40, sequence, (u64)status_frame << 12);
  mmio_write32(VTD_BASE + REG_IQT * 4, queue_tail * 16);
  for (u32 poll = 1; ld(port_at(status_frame, 0)) != sequence; poll++) {
    if (poll % 16 == 0) { if (mmio_read32(VTD_BASE + REG_FSTS * 4) & 0x10) return -2; if (ck.now > deadline) return -2; }
    double pauses = ceil((ck.due - ck.now) / cost[RELAX]);
    charge(RELAX, pauses > 1 ? pauses < 64 ? pauses : 64 : 1);
  }
  queue_pending = 0;
  changed_directories = false;
  return 0;
}
struct driver {
  int (*map)(u32, u64, u64, u32, u32), (*unmap)(u32, u64, u32), (*queue)(u32, u64, u32), (*queue_table)(u32), (*complete)(void);
  bool invalidate_on_map;
};
static struct driver *driver;

/* --- the hypervisor: frames, page tree, addresses, calls ---------------------------------------------------------------------------------- */
#define USED (1u << 31)
#define ALLOCATED (1u << 30)
#define WRITABLE (7u << 27)
#define TYPE WRITABLE
#define COUNT ((1u << 26) - 1)
static u32 *frames;
static u32 *slots, p2m_pages;
static u8 *kinds;
static inline s32 p2m_frame(u64 pfn) { return pfn < p2m_pages ? (s32)slots[pfn] - 1 : -1; }
static int acquire(s32 index, u32 domid, bool write) {
  if (index < 0 || index >= (s32)FRAMES) return -6;
  u32 info = frames[2 * index], holder = frames[2 * index + 1];
  if ((info & (USED | ALLOCATED)) != (USED | ALLOCATED) || holder >> 17 != domid) return -6;
  if (write) {
    if ((info & TYPE) != WRITABLE || (holder & 0x1ffff) == 0x1ffff) return -13;
    frames[2 * index + 1] = holder + 1;
  }
  frames[2 * index] = info + 1;
  return 0;
}
static void put(u32 index) {
  u32 info = frames[2 * index];
  if ((info & COUNT) <= 1) abort();
  frames[2 * index] = info - 1;
}
static void drop(u32 index, bool write) {
  if (write) { if (!(frames[2 * index + 1] & 0x1ffff)) abort(); frames[2 * index + 1]--; }
  put(index);
}
enum { M_WRITE = 2, M_START = 4, M_GRANT = 8, M_PENDING = 16, M_END = 128, M_SHIFT = 8 };
static u32 *pool, node_count[64], middle_of[64], nodes = 1;
static s64 last_key = -1;
static u32 last_leaf;
static u32 tree_find(u64 key) {
  u32 m = key >> 9 < 64 ? middle_of[key >> 9] : 0;
  if (!m) return 0;
  u32 leaf = pool[m * 512 + (key & 511)];
  if (leaf) { last_key = (s64)key; last_leaf = leaf; }
  return leaf;
}
static inline u32 tree_leaf(u64 page) { return (s64)(page >> 9) == last_key ? last_leaf : tree_find(page >> 9); }
static u32 tree_make(u64 key) {
  u32 m = middle_of[key >> 9];
  if (!m) m = middle_of[key >> 9] = nodes++;
  u32 leaf = pool[m * 512 + (key & 511)] = nodes++;
  node_count[m]++;
  last_key = (s64)key;
  return last_leaf = leaf;
}
static bool tree_claim(u64 page, u32 value) {
  u32 leaf = tree_leaf(page);
  if (!leaf) leaf = tree_make(page >> 9);
  u32 at = leaf * 512 + (page & 511);
  if (pool[at]) return false;
  pool[at] = value;
  node_count[leaf]++;
  return true;
}
static bool tree_mark(u64 page, u32 mask, u32 wanted, u32 bits) {
  u32 leaf = tree_leaf(page), at = leaf * 512 + (page & 511);
  if (!leaf || (pool[at] & mask) != wanted) return false;
  pool[at] |= bits;
  return true;
}
static u32 empty_ring[64], empty_at;
static u8 lingering[64];
static u32 tree_take(u64 page) {
  u32 leaf = tree_leaf(page);
  if (!leaf) return 0;
  u32 at = leaf * 512 + (page & 511), old = pool[at];
  pool[at] = 0;
  if (old && --node_count[leaf] == 0 && !lingering[leaf]) { lingering[leaf] = 1; empty_ring[empty_at++ & 63] = leaf; }
  return old;
}
struct domain {
  u32 domid; bool dying, privileged, upcall; u32 pinned, max_pinned; u64 shared;
  struct { u32 id, table; u64 first, end; u32 exact_access, mapped; bool dead, defers; } space;
  u32 max_deferred, stuck;
};
static struct domain *dom0, *domains[4];
static u32 magazine[1024], held, cursor = 1;
static s64 claim_one(u64 limit, u32 value) {
  while (held) { u32 page = magazine[--held]; if (page >= limit) break; if (tree_claim(page, value)) return page; }
  for (; cursor < limit && cursor < 1024; cursor++) if (tree_claim(cursor, value)) return cursor++;
  return -1;
}
static u64 ranges[2 * 1024];
static u32 entries, issued, completed, ticketed;
static double since;
static struct { double mappings_made, mappings_ended, pages_mapped, pages_unmapped, calls[64 * 128]; } books;
static struct domain *payer;
struct held { s32 frame[1026]; u32 pages, offset, length; };
static struct { u64 at, list_at; struct domain *caller; u32 subop, count, stride; struct held argument, list; } *calls, *call;
static u32 depth;
static bool take(struct held *h, u64 pointer, u64 length, bool writable) {
  h->pages = 0; h->length = (u32)length;
  if (pointer + length > 1ull << 43) return false;
  h->offset = pointer & 4095;
  u32 pages = length ? (u32)((h->offset + length + 4095) >> 12) : 0;
  for (u32 i = 0; i < pages; i++) {
    s32 f = p2m_frame((pointer >> 12) + i);
    if (f < 0 || (writable && kinds[(pointer >> 12) + i] == 4)) { while (h->pages) put((u32)h->frame[--h->pages]); return false; }
    frames[2 * f]++;
    h->frame[i] = f; h->pages = i + 1;
  }
  return true;
}
static inline u64 held_at(struct held *h, u32 at) { u32 p = h->offset + at; return (u64)h->frame[p >> 12] << 12 | (p & 4095); }
static void copy_in(struct held *h, u64 to, u32 length) {
  for (u32 done = 0; done < length;) {
    u32 within = (h->offset + done) & 4095, piece = length - done < 4096 - within ? length - done : 4096 - within;
    memcpy(mem + to + done, mem + held_at(h, done), piece);
    done += piece;
  }
}
static void release(struct held *h) { while (h->pages) put((u32)h->frame[--h->pages]); }
static inline void answer32(struct held *h, u32 at, u32 v) {
  u32 p = h->offset + at;
  if (!(p & 3)) st(held_at(h, at), v);
  else for (u32 i = 0; i < 4; i++) mem[held_at(h, at + i)] = (u8)(v >> 8 * i);
}
static const struct rules { u32 size, element, known, pads[4]; bool self, control; } rules[2] = {
  {40, 48, 2, {2, 0xffff0000u, 5, 0xffffffffu}, true, true}, {48, 24, 29, {2, 0xffff0000u, 5, 0xffffffffu}, true, true}};
/* Copies struct and list in, once, and checks what is the same in every call. */
static struct domain *open_(u32 subop, u64 pointer, int *rc) {
  const struct rules *r = rules + subop - 7;
  u64 base = call->at;
  *rc = -14;
  if (!take(&call->argument, pointer, r->size, true)) return NULL;
  copy_in(&call->argument, base, r->size);
  *rc = -22;
  if (ld(base) != r->size) return NULL;
  call->count = ld(base + 32); call->stride = ld(base + 36);
  *rc = -7;
  if (call->count > 1024) return NULL;
  *rc = -22;
  if (call->count && (call->stride < r->element || call->stride > 4096 || call->stride % 8)) return NULL;
  *rc = -14;
  if (call->count) {
    if (!take(&call->list, ld64(base + 24), (u64)call->count * call->stride, true)) return NULL;
    copy_in(&call->list, call->list_at, call->count * call->stride);
  }
  *rc = -95;
  if (ld(base + 4) & ~r->known) return NULL;
  *rc = -22;
  for (u32 i = 0; i < 4; i += 2) if (ld(base + r->pads[i] * 4) & r->pads[i + 1]) return NULL;
  u32 domid = ld(base + 8) & 0xffff;
  struct domain *found = domid == SELF ? call->caller : domid < 4 ? domains[domid] : NULL;
  *rc = -1;
  if (!((r->self && found == call->caller) || (r->control && call->caller->privileged))) return NULL;
  *rc = -3;
  if (!found || found->dying) return NULL;
  *rc = 0;
  return found;
}
static int op_map(struct domain *d) {
  if (ld(call->at + 12) != d->space.id) return -2;
  if (ld(call->at + 4) & 2) return -95;
  payer = d;
  u32 i = 0, room = d->max_pinned - d->pinned, until = call->count < room ? call->count : room;
  for (; i < until; i++) {
    u64 at = call->list_at + i * 48;
    u32 packed = ld(at + 32), access = packed & 0xffff;
    if (packed >> 16 != 1 || access > 3 || !(d->space.exact_access >> access & 1)) break;
    if (ld64(at + 16) != 1 || ld(at + 12) || ld(at + 36) || ld(at + 44) >> 16) break;
    if (i + 1 < call->count && (ld(at + 48 + 32) >> 16 & 2)) break;
    u64 mfn = ld(at + 8), limit = ld64(at + 24), top = d->space.end;
    s32 index = frame_index(mfn);
    bool write = access & 2;
    if (acquire(index, d->domid, write)) break;
    if (limit && limit >> 43 == 0 && (limit + 1) >> 12 < top) top = (limit + 1) >> 12;
    s64 page = claim_one(top, (u32)index << M_SHIFT | access | M_START | M_END);
    if (page < 0) { drop((u32)index, write); break; }
    if (driver->map(d->space.table, (u64)page << 12, mfn, 1, access)) { tree_take((u64)page); drop((u32)index, write); break; }
    u64 out = held_at(&call->list, i * 48);
    if (!(out & 3) && (out & 4095) <= 4096 - 48) { st64(out, (u64)page << 12); st(out + 40, 0); st(out + 44, access); }
    else {
      answer32(&call->list, i * 48, (u32)page << 12); answer32(&call->list, i * 48 + 4, (u32)((u64)page >> 20));
      answer32(&call->list, i * 48 + 40, 0); answer32(&call->list, i * 48 + 44, access);
    }
    if (trace) abort();
  }
  payer = NULL;
  d->space.mapped += i; d->pinned += i;
  books.mappings_made += i; books.pages_mapped += i;
  answer32(&call->argument, 16, i);
  if (driver->invalidate_on_map) return driver->complete();
  return i == call->count ? 0 : -22;
}
static int op_unmap(struct domain *d) {
  u32 flags = ld(call->at + 4), i = 0;
  if ((flags & 4) && call->count) return -22;
  if (ld(call->at + 12) != d->space.id) return -2;
  bool defer = ((flags & 16) || d->space.defers) && d->max_deferred;
  payer = d;
  for (; i < call->count; i++) {
    u64 at = call->list_at + i * 24, iova = ld64(at), page = iova >> 12;
    if (ld64(at + 8) != 1 || (iova & 4095) || iova >> 43) break;
    if (page >= d->space.end || !tree_mark(page, M_START | M_END | M_GRANT | M_PENDING, M_START | M_END, M_PENDING)) break;
    if (driver->unmap(d->space.table, iova, 1)) break;
    if (entries == 1024) abort();
    if (entries == 0) since = ck.now;
    ranges[entries * 2] = page; ranges[entries * 2 + 1] = 1;
    entries++;
    u64 out = held_at(&call->list, i * 24);
    if (!(out & 3) && (out & 4095) <= 4096 - 24) { st(out + 16, 0); st(out + 20, 1); }
    else { answer32(&call->list, i * 24 + 16, 0); answer32(&call->list, i * 24 + 20, 1); }
    if (trace) abort();
  }
  payer = NULL;
  books.mappings_ended += i; books.pages_unmapped += i;
  answer32(&call->argument, 16, i);
  int rc = 0;
  if (!defer && entries) {
    if (entries > 32) driver->queue_table(d->space.table);
    else for (u32 k = 0; k < entries; k++) driver->queue(d->space.table, ranges[2 * k] << 12, (u32)ranges[2 * k + 1]);
    rc = driver->complete() ? -5 : 0;
    if (rc == 0) {
      u32 forgotten = 0;
      for (u32 k = entries; k-- > 0;) {
        for (u32 j = 0; j < ranges[2 * k + 1]; j++) {
          u32 value = tree_take(ranges[2 * k] + j);
          if (value & M_GRANT) abort();
          drop(value >> M_SHIFT, value & M_WRITE);
          forgotten++;
        }
        d->space.mapped -= (u32)ranges[2 * k + 1];
        if (held < 1024) magazine[held++] = (u32)ranges[2 * k];
      }
      d->pinned -= forgotten; d->stuck = 0; entries = ticketed = 0;
    }
  }
  completed = issued;
  answer32(&call->argument, 40, 0); answer32(&call->argument, 44, 0);
  return rc ? rc : i == call->count ? 0 : -22;
}
static int iommu_op(u32 subop, u64 pointer) {
  int rc;
  if (subop - 7 > 1) return -95;
  struct domain *d = open_(subop, pointer, &rc);
  if (!d) return rc;
  switch (subop) { case 7: return op_map(d); case 8: return op_unmap(d); default: return -95; }
}
static double slice_end = INFINITY;
static int hypercall(u32 nr, u64 a1, u64 a2) {
  if (ck.now > slice_end) abort();
  if (dom0->dying) return -3;
  irq.held++;
  charge(HYPERCALL, 1);
  call = calls + depth++;
  call->caller = dom0; call->subop = (u32)a1;
  int rc;
  switch (nr) { case 43: rc = iommu_op((u32)a1, a2); break; default: rc = -38; }
  release(&call->argument); release(&call->list);
  depth--;
  books.calls[(nr < 63 ? nr : 63) * 128 + (a1 < 127 ? a1 : 127)]++;
  if (trace) abort();
  irq.held--;
  deliver();
  u32 word = ld(dom0->shared);
  if ((word & 0xff) && !(word >> 8 & 0xff)) dom0->upcall = true;
  return rc;
}
static int (*volatile gate)(u32, u64, u64) = hypercall;

/* --- the kernel: scatterlist, DMA layer, lists in pages of its own ------------------------------------------------------------------------- */
struct list { u32 count, bytes, segments, mapped, direction; u32 pages[BUFFERS], offsets[BUFFERS], lengths[BUFFERS], out[BUFFERS]; u64 dma[BUFFERS]; };
static struct list list;
/* A list call's argument and elements: guest pointers, and where each element lies (pages are scattered in the machine). */
struct list_call { u64 pointer, header; u64 element[512]; u64 aside, base[8]; u32 stride; };
static struct list_call map_call, unmap_call;
static u64 limit_of_mask;
static void scatter(struct list_call *c, u32 i, bool out) {
  for (u32 k = 0; k < c->stride; k += 4) {
    u32 b = i * c->stride + k;
    u64 at = c->base[b >> 12] + (b & 4095);
    if (out) st(at, ld(c->aside + k)); else st(c->aside + k, ld(at));
  }
}
static int list_call(struct list_call *c, u32 subop, u32 count) {
  st(c->header + 32, count); st(c->header + 16, 0);
  return gate(43, subop, c->pointer);
}
static int xen_map_pages(struct list *l, u32 from, u32 access) {
  struct list_call *c = &map_call;
  u32 end = l->count < from + 512 ? l->count : from + 512;
  for (u32 i = from; i < end; i++) {
    if (l->offsets[i] + l->lengths[i] > 4096) return (int)from;
    u64 e = c->element[i - from], at = e == ~0ull ? c->aside : e;
    s32 f = p2m_frame(l->pages[i]);
    st(at + 8, f < 0 ? ~0u : (u32)frame_at((u32)f));
    st(at + 16, 1); st64(at + 24, limit_of_mask); st(at + 32, access | 1u << 16); st(at + 36, 0);
    if (e == ~0ull) { st64(at, 0); st(at + 12, 0); st(at + 20, 0); st64(at + 40, 0); scatter(c, i - from, true); }
  }
  int rc = list_call(c, 7, end - from);
  u32 mapped = rc == 0 ? end : from + ld(c->header + 16);
  for (u32 i = from; i < mapped; i++) {
    u64 e = c->element[i - from], at = e;
    if (e == ~0ull) { scatter(c, i - from, false); at = c->aside; }
    l->dma[i] = ld64(at) | l->offsets[i]; l->out[i] = l->lengths[i];
  }
  return rc ? rc : (int)end;
}
static int xen_unmap_segments(struct list *l, u32 from, u32 end) {
  struct list_call *c = &unmap_call;
  for (u32 i = from; i < end; i++) {
    u64 e = c->element[i - from], at = e == ~0ull ? c->aside : e;
    st64(at, l->dma[i] & ~4095ull); st(at + 8, (u32)(((l->dma[i] & 4095) + l->out[i] + 4095) >> 12));
    if (e == ~0ull) { st(at + 12, 0); st64(at + 16, 0); scatter(c, i - from, true); }
  }
  int rc = list_call(c, 8, end - from);
  return rc ? rc : ld(c->header + 16) == end - from ? 0 : -5;
}
static struct { int (*map_pages)(struct list *, u32, u32), (*unmap_segments)(struct list *, u32, u32); } *iommu_domain;
static int map_each(struct list *l, u32 direction) {
  if (direction > 2 || l->count == 0 || l->mapped) abort();
  u32 access = (direction != 2 ? 1 : 0) | (direction != 1 ? 2 : 0);
  for (u32 from = 0; from < l->count;) { int end = iommu_domain->map_pages(l, from, access); if (end <= (int)from) return -1; from = (u32)end; }
  l->segments = l->count; l->mapped = 2; l->direction = direction;
  return (int)l->count;
}
static void unmap_each(struct list *l, u32 direction) {
  if (direction > 2 || l->mapped != 2) abort();
  l->mapped = 0;
  for (u32 from = 0; from < l->count; from += 512) {
    int rc = iommu_domain->unmap_segments(l, from, l->count < from + 512 ? l->count : from + 512);
    if (rc < 0 && rc != -5) abort();
  }
  l->segments = 0;
}
static u32 B, next, buffer_pfn, ring_pfn;
static u64 ring_iova, ring_at;
static uint64_t run(void) {
  u64 s = 0;
  for (u32 k = 0; k < N; k += B) {
    list.count = list.bytes = list.segments = 0;
    for (u32 i = 0; i < B; i++) {
      u32 at = list.count;
      if (at >= BUFFERS) abort();
      list.pages[at] = buffer_pfn + ((next + i) & (BUFFERS - 1)); list.offsets[at] = 0; list.lengths[at] = 1500;
      list.count = at + 1; list.bytes += 1500;
    }
    if (map_each(&list, 2) < 0) abort();
    for (u32 i = 0; i < B; i++) { st64(ring_at + i * 16, list.dma[i]); st64(ring_at + i * 16 + 8, 0); s += list.dma[i]; }
    if (nic_receive(ring_iova, B)) abort();
    unmap_each(&list, 2);
    next = (next + B) & (BUFFERS - 1);
  }
  return s;
}

/* --- set-up: scattered frames, a space with the ring in it, an attached device --------------------------------------------------------------- */
static u32 next_pfn;
static u32 pages_(u32 n) { u32 p = next_pfn; next_pfn += n; return p; }
static u64 offset_of(u32 pfn) { return (u64)(slots[pfn] - 1) << 12; }
static void make_call(struct list_call *c, u32 size, u32 flags, u32 stride) {
  u32 header = pages_(1), first = pages_(7);
  c->pointer = (u64)header << 12; c->header = offset_of(header); c->stride = stride;
  for (u32 i = 0; i < 7; i++) c->base[i] = offset_of(first + i);
  c->aside = c->base[6];
  for (u32 i = 0; i < 512; i++) { u32 b = i * stride; c->element[i] = (b & 4095) <= 4096 - stride ? c->base[b >> 12] + (b & 4095) : ~0ull; }
  st(c->header, size); st(c->header + 4, flags); st(c->header + 8, SELF); st(c->header + 12, SPACE);
  st64(c->header + 24, (u64)first << 12); st(c->header + 36, stride);
}
int main(void) {
  static const u32 bs[] = {1, 16, 256};
  char name[40];
  mem = malloc(MEM); memset(mem, 0, MEM);
  frames = calloc(FRAMES, 8); slots = calloc(8192, 4); kinds = calloc(8192, 1); pool = calloc(64 * 512, 4);
  dom0 = domains[0] = calloc(1, sizeof *dom0); calls = calloc(8, sizeof *calls); driver = malloc(sizeof *driver);
  translator = malloc(sizeof *translator); iommu_domain = malloc(sizeof *iommu_domain);
  bank_make(&iotlb, 256, 4); bank_make(&iotlb2m, 64, 4); bank_make(&iotlb1g, 16, 1); bank_make(&directories, 64, 4); bank_make(&leaves, 64, 2);
  /* Frames 0 to 2047 are the hypervisor's, the others dom0's, in random order. */
  u32 *order = malloc(4096 * 4);
  for (u32 i = 0; i < 4096; i++) order[i] = 2048 + i * 3;
  for (u32 i = 4095; i > 0; i--) { u32 j = rnd() % (i + 1), t = order[i]; order[i] = order[j]; order[j] = t; }
  p2m_pages = 8192;
  for (u32 i = 0; i < 4096; i++) {
    slots[i] = order[i] + 1; kinds[i] = 1;
    frames[2 * order[i]] = USED | ALLOCATED | WRITABLE | 1; frames[2 * order[i] + 1] = DOM0 << 17;
  }
  tables_root = 100; root_frame = 101; queue_frame = 102; status_frame = 103;
  for (u32 i = 0; i < 8; i++) { calls[i].at = (u64)(200 + i * 16) << 12; calls[i].list_at = calls[i].at + 4096; }
  dom0->domid = DOM0; dom0->privileged = true; dom0->max_pinned = 1u << 20; dom0->shared = 104ull << 12;
  dom0->space.id = SPACE; dom0->space.table = 1; dom0->space.end = 1ull << 31; dom0->space.exact_access = 14;
  memset(width_beyond, 0xff, sizeof width_beyond);
  width_beyond[1] = ~0ull << 48;
  limit_of_mask = (1ull << 52) - 1;
  iq.frame = queue_frame; iq.bytes = 4096; iq.enabled = true; reg_writable[REG_IQT] = 0x7fff0; reg_clearable[REG_FSTS] = 0x71;
  iq_timer = (struct timer){.at = -1, .action = iq_run};
  unit.translating = true; unit.selected = 0x100; unit.domain = 1; unit.levels = 4; unit.table = tables_root; unit.beyond = ~0ull << 48;
  regions[0] = (struct region){0xe0000000ull, 0xe0001000ull, vtd_read32, vtd_write32};
  regions[1] = (struct region){VTD_BASE, VTD_BASE + 4096, vtd_read32, vtd_write32};
  translator->read = vtd_read; translator->write = vtd_write;
  *driver = (struct driver){vtd_map, vtd_unmap, vtd_queue, vtd_queue_table, vtd_complete, false};
  iommu_domain->map_pages = xen_map_pages; iommu_domain->unmap_segments = xen_unmap_segments;
  nic.mastering = true; nic.requester = 0x100; nic.wire = BOARD; nic.descriptor = BOARD + 16 * 2048;
  make_call(&map_call, 40, 0, 48); make_call(&unmap_call, 48, 1, 24);
  ring_pfn = pages_(1); buffer_pfn = pages_(BUFFERS); ring_at = offset_of(ring_pfn);
  s32 ring = p2m_frame(ring_pfn);
  ring_iova = (u64)claim_one(1024, (u32)ring << M_SHIFT | 3 | M_START | M_END) << 12;
  if (acquire(ring, DOM0, true) || driver->map(1, ring_iova, frame_at((u32)ring), 1, 3)) abort();
  for (int i = 0; i < 3; i++) { B = bs[i]; sprintf(name, "packet_steps_b%u", B); bench(name, run, N); }
}
