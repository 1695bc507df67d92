// A block's threads as fibers of one thread of the host: each runs until it must wait for others.
//
// A warp runs until all its threads wait at a block's barrier (or are done); only then does another begin. So one warp
// gets ahead of another as far as the barriers permit, the worst that a GPU may do, and a missing barrier shows.
// Which warp is next, and which thread within it, is the schedule: forward, reverse or shuffled.
#pragma once
#include "memory.h"

#include <setjmp.h>
#include <ucontext.h>

namespace simulated {

enum Schedule { FORWARD, REVERSE, SHUFFLED };

const size_t STACK = 64 * 1024;

struct Fiber {
    ucontext_t context;
    jmp_buf paused;
    bool begun;
    uint3 index;
    Waiting waiting;
    unsigned mask;           // the lanes that it waits for
    const char *what, *file;  // the barrier or shuffle that it waits at
    int line;
    int turn;  // which of two exchange slots its next shuffle uses
    char* stack;
};

static Fiber fibers[MOST_THREADS];
static int current;  // the fiber that runs
static ucontext_t scheduler_context;
static jmp_buf scheduler_paused, loop;
static char* loop_stack;  // in a loop: where the threads' stack begins
static void (*thread_body)(void*);
static void* thread_arguments;
static bool cooperative;  // fibers, not a plain loop
static uint64_t random_state;
static char exchanged[2][MOST_THREADS][LANE_BYTES];

static uint32_t random_below(uint32_t n) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((random_state >> 33) % n);
}

static int this_thread() { return current; }
int lane() { return current & 31; }

static bool on_own_stack(const char* address) {
    if (cooperative) return (size_t)(address - fibers[current].stack) < STACK;
    return address < loop_stack && address > (char*)__builtin_frame_address(0);
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
    indices.thread = fibers[number].index;
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

// After an error no thread is resumed; begin_fiber makes the fiber anew.
[[noreturn]] static void leave_thread() {
    if (!cooperative) _longjmp(loop, 1);
    for (;;) pause_fiber();
}

// A fiber that is done waits to be the same thread of the next block: making one costs calls of the system.
static void fiber_main() {
    for (;;) {
        thread_body(thread_arguments);
        judge_overwritings();
        fibers[current].waiting = DONE;
        pause_fiber();
    }
}

static void begin_fiber(int number) {
    Fiber& fiber = fibers[number];
    const bool ended = fiber.stack && fiber.waiting == DONE;  // not one that an error left in the middle
    const dim3 threads = indices.threads;
    fiber.waiting = RUNNABLE;
    fiber.turn = 0;
    fiber.index = {number % threads.x, number / threads.x % threads.y, number / (threads.x * threads.y)};
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

void wait(Waiting kind, unsigned mask, const char* what, const char* file, int line) {
    if (!cooperative) fault("%s:%d: a barrier that translate.py did not see", file, line);
    if (!(mask >> lane() & 1))
        fault("a mask without its own lane: %s is at %s with the mask 0x%08x, which does not name its lane %d, at %s:%d", who(), what,
              mask, lane(), file, line);
    judge_overwritings();
    Fiber& fiber = fibers[current];
    fiber.waiting = kind;
    fiber.mask = mask;
    fiber.what = what;
    fiber.file = file;
    fiber.line = line;
    pause_fiber();
}

// There are two slots a lane: by the time a slot is written again, all lanes have run since, and read it.
const char* exchange(unsigned mask, const void* value, size_t bytes, const char* what, const char* file, int line) {
    const int turn = fibers[current].turn ^= 1, first = current / 32 * 32;
    memcpy(exchanged[turn][current], value, bytes);
    wait(FOR_SHUFFLE, mask, what, file, line);
    return exchanged[turn][first];
}

void check_source(unsigned mask, int source, const char* what, const char* file, int line) {
    const unsigned threads = indices.threads.x * indices.threads.y * indices.threads.z;
    const char* why = !(mask >> source & 1)                                ? "which its mask does not name"
                      : (unsigned)(current / 32 * 32 + source) >= threads ? "which the block does not have"
                                                                           : nullptr;
    if (why) fault("%s: %s reads lane %d, %s (mask 0x%08x), at %s:%d", what, who(), source, why, mask, file, line);
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

static bool same_place(const Fiber& a, const Fiber& b) {
    return a.waiting == b.waiting && a.line == b.line && strcmp(a.file, b.file) == 0;
}

// The first lane that this one waits for and that does not wait with it, or null: they go on together.
static const Fiber* missing(const Fiber& fiber, int first, int count) {
    for (int i = 0; i < count; ++i) {
        const Fiber& other = fibers[first + i];
        if (fiber.mask >> i & 1 && !(same_place(fiber, other) && other.mask == fiber.mask)) return &other;
    }
    return nullptr;
}

static void complain_of_divergence(const Fiber& fiber, const Fiber& other) {
    if (other.waiting == DONE) complain("divergent warp: some lanes have returned, others wait", fiber);
    else if (same_place(fiber, other)) complain("divergent warp: its lanes name different masks", fiber);
    else complain("divergent warp: its lanes wait at different places", fiber, &other);
}

// Run a warp's threads as far as they come without another warp. False: an error.
static bool run_warp(int schedule, int first, int count) {
    Order order(schedule, first, count);
    for (;;) {
        order.draw();
        for (int i = 0; i < count; ++i) {
            if (fibers[order.numbers[i]].waiting == RUNNABLE) resume_fiber(order.numbers[i]);
            if (error[0]) return false;
        }
        unsigned going = 0;
        const Fiber* stuck = nullptr;
        for (int i = 0; i < count; ++i) {
            const Fiber& fiber = fibers[first + i];
            if (fiber.waiting != FOR_WARP && fiber.waiting != FOR_SHUFFLE) continue;
            if (!missing(fiber, first, count)) going |= 1u << i;
            else if (!stuck) stuck = &fiber;
        }
        if (!going && stuck) complain_of_divergence(*stuck, *missing(*stuck, first, count));
        if (!going) return !stuck;
        for (int i = 0; i < count; ++i) {
            Fiber& fiber = fibers[first + i];
            if (!(going >> i & 1)) continue;
            // A shuffle orders no memory, a __syncwarp() does; the first lane of a mask speaks for all.
            if (fiber.waiting == FOR_WARP && !(fiber.mask & ((1u << i) - 1))) lanes_met(first / 32, fiber.mask);
            fiber.waiting = RUNNABLE;
        }
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
    block_met();
    return true;
}

static void run_block_of_fibers(int schedule) {
    const dim3 lengths = indices.threads;
    const int threads = (int)(lengths.x * lengths.y * lengths.z), warps = (threads + 31) / 32;
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

// Kernels that never wait need no fibers.
static void run_block_in_a_loop(int schedule) {
    const dim3 lengths = indices.threads;
    const unsigned threads = lengths.x * lengths.y * lengths.z;
    loop_stack = (char*)__builtin_frame_address(0);
    if (_setjmp(loop)) return;  // a thread committed a fault
    for (unsigned i = 0; i < threads; ++i) {
        const unsigned t = schedule == FORWARD ? i : threads - 1 - i;
        current = (int)t;
        indices.thread = {t % lengths.x, t / lengths.x % lengths.y, t / (lengths.x * lengths.y)};
        thread_body(thread_arguments);
        judge_overwritings();
    }
}

}  // namespace simulated
