// A block's threads as fibers of one thread of the host: each runs until it must wait for others.
//
// A warp runs until all its threads wait at a block's barrier (or are done); only then does another begin. So one warp
// gets ahead of another as far as the barriers permit, the worst that a GPU may do, and a missing barrier shows.
// Which warp is next, and which thread within it, is the schedule: forward, reverse or shuffled.
#pragma once
#include "vocabulary.h"  // first: it says which of the system's functions are wanted

#include <setjmp.h>
#include <stdio.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define SIMULATED_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMULATED_SANITIZED
#endif
#endif

namespace simulated {

enum Schedule { FORWARD, REVERSE, SHUFFLED };
enum Waiting { RUNNABLE, FOR_WARP, FOR_BLOCK, DONE };

const int MOST_THREADS = 1024;
const size_t STACK = 64 * 1024;

struct Fiber {
    ucontext_t context;
    jmp_buf paused;
    bool begun;
    uint3 index;
    Waiting waiting;
    const char* file;  // of the barrier it waits at
    int line;
    int turn;  // which of two exchange slots its next shuffle uses
    char* stack;
};

static Fiber fibers[MOST_THREADS];
static int current;  // the fiber that runs
static ucontext_t scheduler_context;
static jmp_buf scheduler_paused;
static void (*thread_body)(void*);
static void* thread_arguments;
static bool cooperative;  // fibers, not a plain loop
static char error[400];   // empty while all is well
static uint64_t random_state;
static uint64_t exchange[2][MOST_THREADS];
static char* dynamic_memory;

inline void* dynamic_shared() { return dynamic_memory; }

inline uint32_t random_below(uint32_t n) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((random_state >> 33) % n);
}

// ---- switching. setjmp and longjmp ask nothing of the system; swapcontext, which does, is what the address sanitizer knows.

static void __attribute__((noinline)) pause_fiber() {
#ifdef SIMULATED_SANITIZED
    swapcontext(&fibers[current].context, &scheduler_context);
#else
    if (_setjmp(fibers[current].paused) == 0) _longjmp(scheduler_paused, 1);
#endif
}

static void __attribute__((noinline)) resume_fiber(int number) {
    current = number;
    threadIdx = fibers[number].index;
#ifdef SIMULATED_SANITIZED
    swapcontext(&scheduler_context, &fibers[number].context);
#else
    if (_setjmp(scheduler_paused) == 0) {
        if (fibers[number].begun) _longjmp(fibers[number].paused, 1);
        fibers[number].begun = true;
        setcontext(&fibers[number].context);
    }
#endif
}

// A fiber that is done waits to be the same thread of the next block: making one costs calls of the system.
static void fiber_main() {
    for (;;) {
        thread_body(thread_arguments);
        fibers[current].waiting = DONE;
        pause_fiber();
    }
}

static void begin_fiber(int number) {
    Fiber& fiber = fibers[number];
    const bool ended = fiber.stack && fiber.waiting == DONE;  // not one that an error left in the middle
    fiber.waiting = RUNNABLE;
    fiber.turn = 0;
    fiber.index = {number % blockDim.x, number / blockDim.x % blockDim.y, number / (blockDim.x * blockDim.y)};
    if (ended) return;
    if (!fiber.stack) fiber.stack = (char*)malloc(STACK);
    fiber.begun = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
}

// ---- what a kernel calls

inline void wait(Waiting kind, const char* file, int line) {
    if (!cooperative) {
        snprintf(error, sizeof error, "%s:%d: a barrier that translate.py did not see", file, line);
        return;
    }
    Fiber& fiber = fibers[current];
    fiber.waiting = kind;
    fiber.file = file;
    fiber.line = line;
    pause_fiber();
}

// Every lane leaves its value, waits for its warp and takes another's. There are two slots a lane: by the time a slot is
// written again, all lanes have passed a later shuffle, so all have read it.
template <class T> T shuffle(T value, int source, const char* file, int line) {
    static_assert(sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
    Fiber& fiber = fibers[current];
    const int first = current / 32 * 32, turn = fiber.turn ^= 1;
    memcpy(&exchange[turn][current], &value, sizeof(T));
    wait(FOR_WARP, file, line);
    if (source < 0 || source > 31) return value;
    T taken;
    memcpy(&taken, &exchange[turn][first + source], sizeof(T));
    return taken;
}

// ---- the schedule

struct Order {
    int schedule, first, count;
    int numbers[MOST_THREADS];

    Order(int schedule, int first, int count) : schedule(schedule), first(first), count(count) {
        for (int i = 0; i < count; ++i) numbers[i] = first + (schedule == REVERSE ? count - 1 - i : i);
    }
    void draw() {
        if (schedule != SHUFFLED) return;
        for (int i = count - 1; i > 0; --i) {
            const int j = (int)random_below(i + 1), kept = numbers[i];
            numbers[i] = numbers[j];
            numbers[j] = kept;
        }
    }
};

static void complain(const char* what, const Fiber& fiber, const Fiber* other = nullptr) {
    int length = snprintf(error, sizeof error, "%s, at %s:%d", what, fiber.file, fiber.line);
    if (other) snprintf(error + length, sizeof error - length, " and %s:%d", other->file, other->line);
}

inline bool same_place(const Fiber& a, const Fiber& b) { return a.line == b.line && strcmp(a.file, b.file) == 0; }

// Run a warp's threads as far as they come without another warp. False: an error.
static bool run_warp(int schedule, int first, int count) {
    Order order(schedule, first, count);
    for (;;) {
        order.draw();
        for (int i = 0; i < count; ++i)
            if (fibers[order.numbers[i]].waiting == RUNNABLE) resume_fiber(order.numbers[i]);
        const Fiber* shuffling = nullptr;
        const Fiber* elsewhere = nullptr;
        for (int i = first; i < first + count; ++i) {
            if (fibers[i].waiting != FOR_WARP) elsewhere = &fibers[i];
            else if (!shuffling) shuffling = &fibers[i];
            else if (!same_place(*shuffling, fibers[i])) {
                complain("divergent warp: its lanes wait at different places", *shuffling, &fibers[i]);
                return false;
            }
        }
        if (!shuffling) return true;
        if (elsewhere) {
            if (elsewhere->waiting == DONE) complain("divergent warp: some lanes have returned, others wait", *shuffling);
            else complain("divergent warp: its lanes wait at different places", *shuffling, elsewhere);
            return false;
        }
        for (int i = first; i < first + count; ++i) fibers[i].waiting = RUNNABLE;
    }
}

// All threads wait or are done: let them pass the barrier together. False: all done, or an error.
static bool pass_barrier(int threads) {
    const Fiber* waiting = nullptr;
    bool returned = false;
    for (int i = 0; i < threads; ++i) {
        if (fibers[i].waiting == DONE) returned = true;
        else if (!waiting) waiting = &fibers[i];
        else if (!same_place(*waiting, fibers[i])) {
            complain("divergent barrier: threads of a block wait at different __syncthreads()", *waiting, &fibers[i]);
            return false;
        }
    }
    if (waiting && returned) complain("divergent barrier: some threads have returned, others wait", *waiting);
    if (!waiting || returned) return false;
    for (int i = 0; i < threads; ++i) fibers[i].waiting = RUNNABLE;
    return true;
}

static void run_block_of_fibers(int schedule) {
    const int threads = (int)(blockDim.x * blockDim.y * blockDim.z), warps = (threads + 31) / 32;
    for (int i = 0; i < threads; ++i) begin_fiber(i);
    Order order(schedule, 0, warps);
    do {
        order.draw();
        for (int i = 0; i < warps; ++i) {
            const int first = order.numbers[i] * 32;
            if (!run_warp(schedule, first, threads - first < 32 ? threads - first : 32)) return;
        }
    } while (pass_barrier(threads));
}

}  // namespace simulated

#define __syncthreads() simulated::wait(simulated::FOR_BLOCK, __FILE__, __LINE__)
#define __syncwarp(...) simulated::wait(simulated::FOR_WARP, __FILE__, __LINE__)
#define __shfl_sync(mask, value, source) simulated::shuffle(value, (source) & 31, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, bits) simulated::shuffle(value, (simulated::current & 31) ^ (bits), __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, lanes) \
    simulated::shuffle(value, (simulated::current & 31) + (int)(lanes), __FILE__, __LINE__)
#define __shfl_up_sync(mask, value, lanes) \
    simulated::shuffle(value, (simulated::current & 31) - (int)(lanes), __FILE__, __LINE__)
