// From a pointer to each argument to the call of a kernel, for one thread.
#pragma once
#include "vocabulary.h"

#include <type_traits>
#include <utility>

namespace simulated {

// A parameter's type as NumPy spells it ("f4", "u1", "b1"), behind "*" for a pointer and "c*" for one to const.
template <class T> SIMULATED_UNCHECKED void spell(char*& end) {
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

template <class> struct Kernel;
template <class... A> struct Kernel<void (*)(A...)> {
    struct Call {
        void (*kernel)(A...);
        void** arguments;
    };
    template <size_t... I> SIMULATED_UNCHECKED static void call(const Call& c, std::index_sequence<I...>) {
        c.kernel(*(std::remove_cv_t<A>*)c.arguments[I]...);
    }
    SIMULATED_UNCHECKED static void thread(void* c) { call(*(Call*)c, std::index_sequence_for<A...>{}); }

    SIMULATED_UNCHECKED static const char* run(void (*kernel)(A...), const Launch& launch, bool fibers) {
        Call c = {kernel, launch.arguments};
        return run_grid(launch, thread, &c, fibers);
    }
    SIMULATED_UNCHECKED static const char* types() {
        static char text[sizeof...(A) * 6 + 1];
        char* end = text;
        (spell<A>(end), ...);
        return text;
    }
};

}  // namespace simulated

#define SIMULATED_KERNEL(name, fibers)                                                                         \
    extern "C" SIMULATED_UNCHECKED const char* simulated_run_##name(const simulated::Launch* launch) {         \
        return simulated::Kernel<decltype(&name)>::run(&name, *launch, fibers);                                \
    }                                                                                                          \
    extern "C" SIMULATED_UNCHECKED const char* simulated_types_##name() {                                      \
        return simulated::Kernel<decltype(&name)>::types();                                                    \
    }
