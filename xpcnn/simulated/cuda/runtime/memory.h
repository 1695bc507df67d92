// What a thread may touch, and who touched it before.
//
// The compiler puts a call before every access of a kernel's text to memory. Each must lie in an array that the kernel was
// given, in a shared variable or on the thread's own stack. And for every element it is recorded which threads wrote and
// read it: two threads that touch the same element, one of them to write, need a barrier between them, or the result
// depends on which comes first. The fault is found in whatever order the threads run.
#pragma once
#include "complaint.h"

#include <vector>

namespace simulated {

// ---- time. It passes at barriers: what a thread did before one comes before what others do after it.

struct Record {
    uint32_t block, time;  // block: its number in this launch, from 1; 0: nobody
    uint32_t code;         // the place in the text
    uint16_t thread;
};

static uint32_t now, last_barrier, block_number;
static uint32_t met[MOST_THREADS / 32][32][32];  // met[warp][a][b]: until when lane a knows what lane b did

static void begin_time() {
    ++block_number;
    now = 1, last_barrier = 0;
    memset(met, 0, sizeof met);
}

static void block_met() { last_barrier = now++; }

static void lanes_met(int warp, unsigned mask) {
    static uint32_t after[32][32];
    memcpy(after, met[warp], sizeof after);
    for (int a = 0; a < 32; ++a)
        for (int b = 0; b < 32; ++b) {
            if (!(mask >> a & mask >> b & 1)) continue;
            for (int c = 0; c < 32; ++c) after[a][c] = after[a][c] < met[warp][b][c] ? met[warp][b][c] : after[a][c];
            after[a][b] = now;
        }
    memcpy(met[warp], after, sizeof after);
    ++now;
}

// ---- regions: the arrays of a launch, a block's shared variables, the library's own variables

struct Others {  // two of those who have read an element since it was written, or changed it by atomics
    Record readers[2], atomics[2];
};

struct Page {  // of PAGE bytes, made when they are touched
    Record* writers;  // the last of each element
    Others* others;   // or null, where there are none yet
    size_t count;
    unsigned grain;  // bytes of what is an element here
};
const size_t PAGE = 4096;

struct Region {
    char* begin;
    size_t bytes;
    unsigned item;  // bytes of an element
    bool read_only, shared;
    const char* name;
    Page* pages;
};

static std::vector<Region> regions;
static std::vector<Page*> made;  // the pages that have writers

static void add_region(char* begin, size_t bytes, unsigned item, bool read_only, bool shared, const char* name) {
    regions.push_back({begin, bytes, item ? item : 1, read_only, shared, name, nullptr});
}

static void forget_regions() {
    for (Page* page : made) free(page->writers), free(page->others);
    for (Region& region : regions) free(region.pages);
    made.clear();
    regions.clear();
}

static Region* region_of(const char* address, size_t bytes) {
    static size_t last;
    for (size_t i = 0; i < regions.size(); ++i, ++last) {
        if (last >= regions.size()) last = 0;
        Region& region = regions[last];
        const size_t offset = (size_t)(address - region.begin);
        if (offset < region.bytes && bytes <= region.bytes - offset) return &region;
    }
    return nullptr;
}

static const char* element_of(const Region& region, const char* address) {
    static char text[120];
    const long long offset = address - region.begin, item = region.item;
    snprintf(text, sizeof text, "%s%s[%lld]", region.shared ? "shared " : "", region.name,
             (offset - (offset < 0 ? item - 1 : 0)) / item);
    return text;
}

static const char* verb(Kind kind) { return kind == READ ? "reads" : kind == WRITE ? "writes" : "changes"; }

const size_t NEAR = 64 * 1024;  // bytes

static void outside(Kind kind, const char* address, uint32_t code) {
    const Region* nearest = nullptr;
    size_t least = SIZE_MAX;
    for (const Region& region : regions) {
        const size_t distance = address < region.begin ? region.begin - address : address - region.begin - region.bytes;
        const bool covers = address >= region.begin && address < region.begin + region.bytes;
        if (!region.bytes || (!covers && distance >= least)) continue;
        nearest = &region, least = covers ? 0 : distance;
    }
    if (!nearest) fault("%s %s memory{+%x} that belongs to no array", who(), verb(kind), code);
    const char* how = least > NEAR ? "far from every array; the nearest is that of " : "";
    fault("out of bounds: %s %s %s%s{+%x}; it has %zu elements", who(), verb(kind), how, element_of(*nearest, address), code,
          nearest->bytes / nearest->item);
}

// ---- races

static bool comes_before(const Record& record, const Region& region) {
    if (record.block != block_number) return record.block == 0 || region.shared;
    const int me = this_thread(), warp = me / 32;
    return record.thread == me || record.time <= last_barrier ||
           (record.thread / 32 == warp && record.time <= met[warp][me % 32][record.thread % 32]);
}

static void race(const char* element, const char* does, uint32_t code, const Record& other, const char* did) {
    const bool here = other.block == block_number;
    fault("a race: %s %s %s{+%x}, and thread %d%s %s it{+%x}; %s", who(), does, element, code, other.thread,
          here ? "" : " of another block", did, other.code,
          here ? "put a __syncthreads() between them" : "nothing orders the blocks of one launch");
}

// A write over another thread's is a fault if it changes the value, which is known when the thread stops next.
struct Overwriting {
    size_t region, bytes;
    char *address, before[32];
    Record earlier, later;
};
static std::vector<Overwriting> overwritings;

static void judge_overwritings() {
    for (const Overwriting& found : overwritings)
        if (memcmp(found.before, found.address, found.bytes) != 0) {
            const Overwriting first = found;
            overwritings.clear();
            race(element_of(regions[first.region], first.address), "writes another value to", first.later.code, first.earlier, "wrote");
        }
    overwritings.clear();
}

static Page& page_at(Region& region, size_t offset) {
    if (!region.pages) region.pages = (Page*)calloc(region.bytes / PAGE + 1, sizeof(Page));
    Page& page = region.pages[offset / PAGE];
    if (!page.writers) {
        const size_t start = offset / PAGE * PAGE, rest = region.bytes - start;
        page.grain = region.item == 1 || region.item == 2 || region.item == 8 ? region.item : region.item % 4 ? 1 : 4;
        page.count = ((rest < PAGE ? rest : PAGE) + page.grain - 1) / page.grain;
        page.writers = (Record*)calloc(page.count, sizeof(Record));
        made.push_back(&page);
    }
    return page;
}

// Part of an element is touched by itself: from here on each byte is one.
template <class T> static T* spread(T* found, size_t count, unsigned grain) {
    if (!found) return nullptr;
    T* bytes = (T*)calloc(count * grain, sizeof(T));
    for (size_t i = 0; i < count * grain; ++i) bytes[i] = found[i / grain];
    free(found);
    return bytes;
}
static void refine(Page& page) {
    page.writers = spread(page.writers, page.count, page.grain);
    page.others = spread(page.others, page.count, page.grain);
    page.count *= page.grain;
    page.grain = 1;
}

// Two are enough: whoever writes next is not both of them. Of two warps, rather than of one.
static void keep(Record (&records)[2], const Record& mine, const Region& region) {
    if (comes_before(records[0], region)) records[0] = mine;
    else if (comes_before(records[1], region) || records[0].thread / 32 == records[1].thread / 32) records[1] = mine;
}

static void track(Kind kind, Region& region, char* address, size_t bytes, uint32_t code) {
    const Record mine = {block_number, now, code, (uint16_t)this_thread()};
    const size_t start = (size_t)(address - region.begin);
    bool written = kind == WRITE || !region.shared;
    Record earlier = {};
    for (size_t offset = start; offset < start + bytes;) {
        Page& page = page_at(region, offset);
        if (offset % page.grain || start + bytes - offset < page.grain) refine(page);
        const size_t element = offset % PAGE / page.grain;
        offset += page.grain;
        Record& writer = page.writers[element];
        if (kind != WRITE && !page.others) page.others = (Others*)calloc(page.count, sizeof(Others));
        Others* others = page.others ? &page.others[element] : nullptr;
        const bool after_writer = comes_before(writer, region);
        written = written || writer.block == block_number || others->atomics[0].block == block_number;
        if (!after_writer && kind != WRITE) race(element_of(region, address), verb(kind), code, writer, "wrote");
        for (int i = 0; i < 2 && others; ++i) {
            if (kind != READ && !comes_before(others->readers[i], region))
                race(element_of(region, address), verb(kind), code, others->readers[i], "read");
            if (kind != ATOMIC && !comes_before(others->atomics[i], region))
                race(element_of(region, address), verb(kind), code, others->atomics[i], "changed");
        }
        if (kind == READ) keep(others->readers, mine, region);
        else if (kind == ATOMIC) keep(others->atomics, mine, region);
        else {
            if (!after_writer) earlier = writer;
            writer = mine;
            if (others) *others = {};
        }
    }
    if (!written) fault("%s %s %s{+%x}, which no thread wrote", who(), verb(kind), element_of(region, address), code);
    if (earlier.block) {
        Overwriting found = {(size_t)(&region - regions.data()), bytes, address, {}, earlier, mine};
        if (bytes > sizeof found.before) race(element_of(region, address), "writes", code, earlier, "wrote");
        memcpy(found.before, address, bytes);
        overwritings.push_back(found);
    }
}

void access(Kind kind, const void* where, size_t bytes, const void* code) {
    char* address = (char*)where;
    if ((size_t)(address - (char*)&indices) < sizeof indices || on_own_stack(address)) return;
    Region* region = region_of(address, bytes);
    if (!region) outside(kind, address, place_of(code));
    if (kind != READ && region->read_only)
        fault("%s %s %s{+%x}, which its parameter says is const", who(), verb(kind), element_of(*region, address), place_of(code));
    if (!region->read_only) track(kind, *region, address, bytes, place_of(code));
}

}  // namespace simulated

// ---- the compiler's calls: -fsanitize=thread

#define SIMULATED_CALL(name, kind, bytes)                                                              \
    extern "C" SIMULATED_LOCAL void __tsan_##name(void* address) {                                     \
        simulated::access(simulated::kind, address, bytes, __builtin_return_address(0));               \
    }
#define SIMULATED_CALLS(bytes)                       \
    SIMULATED_CALL(read##bytes, READ, bytes)         \
    SIMULATED_CALL(write##bytes, WRITE, bytes)       \
    SIMULATED_CALL(unaligned_read##bytes, READ, bytes) \
    SIMULATED_CALL(unaligned_write##bytes, WRITE, bytes)
SIMULATED_CALLS(1)
SIMULATED_CALLS(2)
SIMULATED_CALLS(4)
SIMULATED_CALLS(8)
SIMULATED_CALLS(16)

extern "C" {
SIMULATED_LOCAL void __tsan_read_range(void* address, size_t bytes) {
    simulated::access(simulated::READ, address, bytes, __builtin_return_address(0));
}
SIMULATED_LOCAL void __tsan_write_range(void* address, size_t bytes) {
    simulated::access(simulated::WRITE, address, bytes, __builtin_return_address(0));
}
SIMULATED_LOCAL void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
    simulated::access(simulated::READ, from, bytes, __builtin_return_address(0));
    simulated::access(simulated::WRITE, to, bytes, __builtin_return_address(0));
    return memcpy(to, from, bytes);
}
SIMULATED_LOCAL void* __tsan_memset(void* to, int value, size_t bytes) {
    simulated::access(simulated::WRITE, to, bytes, __builtin_return_address(0));
    return memset(to, value, bytes);
}
SIMULATED_LOCAL void __tsan_init() {}
SIMULATED_LOCAL void __tsan_func_entry(void*) {}
SIMULATED_LOCAL void __tsan_func_exit() {}
}
