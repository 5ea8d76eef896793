// <immintrin.h> without GCC 12's false alarm: its AVX-512 headers pass a deliberately undefined
// vector to masked builtins, and once inlined -Wmaybe-uninitialized reports it
// (https://gcc.gnu.org/bugzilla/show_bug.cgi?id=105593, fixed in GCC 12.3 and 13).
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
