// What is said of a fault, and the end of the thread that committed it.
#pragma once
#include "../include/runtime.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define SIMULATED_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMULATED_SANITIZED
#endif
#endif

namespace simulated {

const int MOST_THREADS = 1024;

static char error[800];  // empty while all is well

[[noreturn]] static void leave_thread();        // these three: scheduler.h
static int this_thread();
static bool on_own_stack(const char* address);

// An instruction's distance from the beginning of the library, of which Python makes file and line: "{+1a2b}".
#ifdef __APPLE__
static uint32_t place_of(const void*) { return 0; }
#else
extern "C" char __ehdr_start SIMULATED_LOCAL;
extern "C" char _end SIMULATED_LOCAL;
static uint32_t place_of(const void* code) { return (uint32_t)((const char*)code - &__ehdr_start - 1); }
#endif

[[noreturn]] __attribute__((format(printf, 1, 2))) static void fault(const char* format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(error, sizeof error, format, values);
    va_end(values);
    leave_thread();
}

static const char* who() {
    static char text[96];
    const uint3 t = indices.thread, b = indices.block;
    if (indices.threads.y * indices.threads.z * indices.blocks.y * indices.blocks.z == 1)
        snprintf(text, sizeof text, "thread %u of block %u", t.x, b.x);
    else snprintf(text, sizeof text, "thread (%u, %u, %u) of block (%u, %u, %u)", t.x, t.y, t.z, b.x, b.y, b.z);
    return text;
}

}  // namespace simulated
