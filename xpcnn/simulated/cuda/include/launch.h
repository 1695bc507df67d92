// From a pointer to each argument to the call of a kernel, for every thread of every block.
#pragma once
#include "scheduler.h"

#include <type_traits>
#include <utility>

namespace simulated {

// A parameter's type as NumPy spells it ("f4", "u1", "b1"), behind "*" for a pointer and "c*" for one to const.
template <class T> void spell(char*& end) {
    using Pointed = std::remove_pointer_t<T>;
    using Value = std::remove_cv_t<Pointed>;
    if (std::is_pointer<T>::value && std::is_const<Pointed>::value) *end++ = 'c';
    if (std::is_pointer<T>::value) *end++ = '*';
    *end++ = std::is_same<Value, bool>::value     ? 'b'
             : std::is_integral<Value>::value     ? (std::is_signed<Value>::value ? 'i' : 'u')
             : std::is_floating_point<Value>::value || sizeof(Value) == 2 ? 'f'  // __half
                                                  : 'V';
    *end++ = (char)('0' + sizeof(Value) % 10);
    *end++ = ' ';
    *end = 0;
}

struct Launch {
    void** arguments;
    const unsigned *grid, *block;
    size_t shared_bytes;
    int schedule, poison;
    unsigned seed;
};

static void poison_shared(const Launch& launch) {
    if (&simulated_shared_begin)
        memset(&simulated_shared_begin, launch.poison, (size_t)(&simulated_shared_end - &simulated_shared_begin));
    if (launch.shared_bytes) memset(dynamic_memory, launch.poison, launch.shared_bytes);
}

// Kernels that never wait need no fibers.
static void run_block_in_a_loop(int schedule) {
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    for (unsigned i = 0; i < threads; ++i) {
        const unsigned t = schedule == FORWARD ? i : threads - 1 - i;
        threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
        thread_body(thread_arguments);
    }
}

static const char* run_grid(const Launch& launch) {
    error[0] = 0;
    random_state = launch.seed;
    gridDim = {launch.grid[0], launch.grid[1], launch.grid[2]};
    blockDim = {launch.block[0], launch.block[1], launch.block[2]};
    dynamic_memory = (char*)malloc(launch.shared_bytes + 16);
    const uint64_t blocks = (uint64_t)gridDim.x * gridDim.y * gridDim.z;
    const uint64_t offset = launch.schedule == SHUFFLED ? random_below((uint32_t)(blocks < 1u << 31 ? blocks : 1u << 31)) : 0;
    for (uint64_t i = 0; i < blocks && !error[0]; ++i) {
        const uint64_t b = launch.schedule == FORWARD ? i : (blocks - 1 - i + offset) % blocks;
        blockIdx = {(unsigned)(b % gridDim.x), (unsigned)(b / gridDim.x % gridDim.y), (unsigned)(b / gridDim.x / gridDim.y)};
        poison_shared(launch);
        if (cooperative) run_block_of_fibers(launch.schedule);
        else run_block_in_a_loop(launch.schedule);
    }
    free(dynamic_memory);
    return error[0] ? error : nullptr;
}

template <class> struct Kernel;
template <class... A> struct Kernel<void (*)(A...)> {
    struct Call {
        void (*kernel)(A...);
        void** arguments;
    };
    template <size_t... I> static void call(const Call& c, std::index_sequence<I...>) {
        c.kernel(*(std::remove_cv_t<A>*)c.arguments[I]...);
    }
    static void thread(void* c) { call(*(Call*)c, std::index_sequence_for<A...>{}); }

    static const char* run(void (*kernel)(A...), const Launch& launch, bool fibers) {
        Call c = {kernel, launch.arguments};
        thread_body = thread;
        thread_arguments = &c;
        cooperative = fibers;
        return run_grid(launch);
    }
    static const char* types() {
        static char text[sizeof...(A) * 6 + 1];
        char* end = text;
        (spell<A>(end), ...);
        return text;
    }
};

}  // namespace simulated

#define SIMULATED_KERNEL(name, fibers)                                                       \
    extern "C" const char* simulated_run_##name(const simulated::Launch* launch) {           \
        return simulated::Kernel<decltype(&name)>::run(&name, *launch, fibers);              \
    }                                                                                        \
    extern "C" const char* simulated_types_##name() { return simulated::Kernel<decltype(&name)>::types(); }
