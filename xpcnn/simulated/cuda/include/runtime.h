// What a kernel's text and the simulator's runtime know of each other. They are compiled apart: the text with a call
// before every access to memory and a check of every sum and product of integers, the runtime without.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <type_traits>

struct uint3 {
    unsigned x, y, z;
};
typedef uint3 dim3;

#define SIMULATED_LOCAL __attribute__((visibility("hidden")))  // two libraries of one process share nothing
#define SIMULATED_UNCHECKED __attribute__((noinline, no_sanitize("thread", "undefined")))

namespace simulated {

// An array that a kernel is given: module.py fills it in.
struct Array {
    char* begin;
    char** argument;  // where the kernel finds its address
    size_t bytes;
    size_t offset;  // from the beginning of the memory that was allocated
    unsigned item;       // bytes of an element
    unsigned read_only;  // 1: the parameter points to const
    const char* name;
};

struct Launch {
    void** arguments;
    const Array* arrays;
    const unsigned *grid, *block;
    size_t shared_bytes, most_shared;
    unsigned array_count;
    unsigned most_at_each_end;  // blocks that run at either end of the grid; 0: all
    int schedule, poison;
    unsigned seed;
};

struct Indices {
    uint3 thread, block;
    dim3 threads, blocks;
};
extern SIMULATED_LOCAL Indices indices;

enum Waiting { RUNNABLE, FOR_SHUFFLE, FOR_WARP, FOR_BLOCK, DONE };
enum Kind { READ, WRITE, ATOMIC };

// ---- what a kernel calls

SIMULATED_LOCAL void wait(Waiting kind, unsigned mask, const char* what, const char* file, int line);
SIMULATED_LOCAL void access(Kind kind, const void* address, size_t bytes, const void* code);
SIMULATED_LOCAL void* dynamic_shared(size_t item, const char* name);
SIMULATED_LOCAL int lane();

// A warp's exchange: every lane that the mask names leaves `bytes` bytes, and when all have, finds what each one left at
// LANE_BYTES times its number. Shuffles are made of it, and so can be whatever else a warp does as one.
const size_t LANE_BYTES = 64;
SIMULATED_LOCAL const char* exchange(unsigned mask, const void* value, size_t bytes, const char* what, const char* file, int line);

// A shuffle reads from another lane: it must be there and take part.
SIMULATED_LOCAL void check_source(unsigned mask, int source, const char* what, const char* file, int line);

// ---- shared variables: each has its place in a block's memory from the first time that a launch comes past it

struct Slot {
    uint64_t launch;
    void* address;
};
extern SIMULATED_LOCAL uint64_t launch_number;
SIMULATED_LOCAL void place(Slot& slot, size_t bytes, size_t alignment, size_t item, const char* name);

template <class T, class Tag> SIMULATED_UNCHECKED static T& shared(const char* name, size_t alignment) {
    static Slot slot;
    if (slot.launch != launch_number) place(slot, sizeof(T), alignment, sizeof(std::remove_all_extents_t<T>), name);
    return *(T*)slot.address;
}

// ---- what a library calls for each of its kernels: the error, or null

SIMULATED_LOCAL const char* run_grid(const Launch& launch, void (*thread)(void*), void* arguments, bool fibers);

}  // namespace simulated
