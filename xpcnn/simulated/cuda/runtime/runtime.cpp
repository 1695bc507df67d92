// The simulator's runtime: compiled once a process, and linked into the library of each kernel's text.
#ifdef __APPLE__  // or its headers hide ucontext
#define _XOPEN_SOURCE 600
#define _DARWIN_C_SOURCE
#endif
#include "grid.h"
