// The arrays of a launch. A kernel is given copies, far from each other, so that a step beyond one is in no other: on a GPU
// they may be neighbours, such as the parameters in an optimizer's buffer. Arrays that overlap stay together.
#pragma once
#include "memory.h"

#include <algorithm>
#include <string>

namespace simulated {

const size_t GUARD = 64 * 1024;           // bytes around each copy
const size_t ALIGNMENT = 512;             // of what CuPy allocates
#ifdef SIMULATED_SANITIZED
const size_t MOST_COPIED = 0;  // the address sanitizer knows where each array ends
#else
const size_t MOST_COPIED = (size_t)1 << 28;  // bytes; larger arrays are used where they are
#endif

struct Group {
    char *begin, *end, *place, *memory;
    bool read_only;
    unsigned item;
    std::string name;
};
static std::vector<Group> groups;

static void lay_out(const Launch& launch) {
    std::vector<const Array*> arrays;
    for (unsigned i = 0; i < launch.array_count; ++i)
        if (launch.arrays[i].bytes) arrays.push_back(&launch.arrays[i]);
    std::sort(arrays.begin(), arrays.end(), [](const Array* a, const Array* b) { return a->begin < b->begin; });
    for (const Array* array : arrays) {
        char* end = array->begin + array->bytes;
        if (groups.empty() || groups.back().end <= array->begin)
            groups.push_back({array->begin, end, array->begin, nullptr, true, array->item, ""});
        Group& group = groups.back();
        group.end = std::max(group.end, end);
        group.item = std::min(group.item, array->item);
        group.read_only = group.read_only && array->read_only;
        if (group.name.empty()) group.name = array->name;
        else group.name += std::string(" or ") + array->name;
        if (group.begin == array->begin) group.place = (char*)(array->offset % ALIGNMENT);
    }
    for (Group& group : groups) {
        const size_t bytes = group.end - group.begin, offset = (size_t)group.place;
        if (bytes > MOST_COPIED) group.place = group.begin;
        else {
            group.memory = (char*)malloc(bytes + 2 * GUARD + 2 * ALIGNMENT);
            group.place = (char*)(((uintptr_t)group.memory + GUARD) / ALIGNMENT * ALIGNMENT + ALIGNMENT + offset);
            memcpy(group.place, group.begin, bytes);
        }
        add_region(group.place, bytes, group.item, group.read_only, false, group.name.c_str());
    }
    for (unsigned i = 0; i < launch.array_count; ++i)
        for (const Group& group : groups) {
            const Array& array = launch.arrays[i];
            if (array.bytes && array.begin >= group.begin && array.begin < group.end)
                *array.argument = group.place + (array.begin - group.begin);
        }
}

static void take_back() {
    for (Group& group : groups) {
        if (!group.memory) continue;
        if (!group.read_only) memcpy(group.begin, group.place, group.end - group.begin);
        free(group.memory);
    }
    groups.clear();
}

}  // namespace simulated
