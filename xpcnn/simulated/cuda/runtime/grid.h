// A launch: block after block, each with its shared memory poisoned.
#pragma once
#include "arrays.h"
#include "scheduler.h"
#include "undefined.h"

namespace simulated {

Indices indices;
uint64_t launch_number;

// ---- shared memory

static const Launch* launched;
static std::vector<char*> allocated;
static size_t shared_bytes;
static char* dynamic_memory;
// A place as little aligned as the variable's type permits: a GPU promises no more.
static char* allocate(size_t bytes, size_t alignment) {
    char* memory = (char*)malloc(bytes + 2 * GUARD + 2 * alignment);
    allocated.push_back(memory);
    uintptr_t address = ((uintptr_t)memory + GUARD) / (2 * alignment) * 2 * alignment + alignment;
    memset((char*)address, launched->poison, bytes);
    return (char*)address;
}

static const char* too_much(size_t bytes) {
    static char text[120];
    snprintf(text, sizeof text, "%zu bytes of shared memory, and a block has %zu at most", bytes, launched->most_shared);
    return text;
}

void place(Slot& slot, size_t bytes, size_t alignment, size_t item, const char* name) {
    shared_bytes = (shared_bytes + alignment - 1) / alignment * alignment + bytes;
    if (shared_bytes > launched->most_shared) fault("%s: %s is the last of them", too_much(shared_bytes), name);
    slot = {launch_number, allocate(bytes, alignment)};
    add_region((char*)slot.address, bytes, (unsigned)item, false, true, name);
}

void* dynamic_shared(size_t item, const char* name) {
    for (Region& region : regions)
        if (region.begin == dynamic_memory) region.item = (unsigned)item, region.name = name;
    return dynamic_memory;
}

static void poison_shared() {
    for (const Region& region : regions)
        if (region.shared) memset(region.begin, launched->poison, region.bytes);
}

// ---- blocks

static void begin_launch(const Launch& launch) {
    launched = &launch;
    ++launch_number;
    error[0] = 0;
    random_state = launch.seed;
    block_number = 0;
    indices.blocks = {launch.grid[0], launch.grid[1], launch.grid[2]};
    indices.threads = {launch.block[0], launch.block[1], launch.block[2]};
    lay_out(launch);
#ifndef __APPLE__
    add_region(&__ehdr_start, (size_t)(&_end - &__ehdr_start), 4, false, false, "a __device__ variable");
#endif
    shared_bytes = launch.shared_bytes;
    dynamic_memory = nullptr;
    if (launch.shared_bytes) {
        dynamic_memory = allocate(launch.shared_bytes, 16);
        add_region(dynamic_memory, launch.shared_bytes, 4, false, true, "dynamic");
    }
}

static void end_launch() {
    take_back();
    forget_regions();
    overwritings.clear();
    for (char* memory : allocated) free(memory);
    allocated.clear();
}

const char* run_grid(const Launch& launch, void (*thread)(void*), void* arguments, bool fibers) {
    begin_launch(launch);
    thread_body = thread;
    thread_arguments = arguments;
    cooperative = fibers;
    const uint64_t x = launch.grid[0], y = launch.grid[1], blocks = x * y * launch.grid[2];
    const uint64_t most = launch.most_at_each_end, runs = most && 2 * most < blocks ? 2 * most : blocks;
    const uint64_t offset = launch.schedule == SHUFFLED ? random_below((uint32_t)(runs < 1u << 31 ? runs : 1u << 31)) : 0;
    for (uint64_t i = 0; i < runs && !error[0]; ++i) {
        uint64_t b = launch.schedule == FORWARD ? i : (runs - 1 - i + offset) % runs;
        if (runs < blocks && b >= most) b += blocks - runs;
        indices.block = {(unsigned)(b % x), (unsigned)(b / x % y), (unsigned)(b / x / y)};
        begin_time();
        poison_shared();
        if (cooperative) run_block_of_fibers(launch.schedule);
        else run_block_in_a_loop(launch.schedule);
    }
    end_launch();
    return error[0] ? error : nullptr;
}

}  // namespace simulated
