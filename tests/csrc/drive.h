// Memory and parts of the program that drives the kernels under sanitizers; see drive.cpp.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

// Bytes with an unreadable page right behind them, or right before. AddressSanitizer knows nothing
// of AVX-512's masked loads and stores; the page does. Pages keep the alignment of elements, as
// sizes are whole numbers of them.
class Guarded {
public:
    explicit Guarded(size_t bytes, bool at_end = true) {
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        const size_t inside = (bytes + page - 1) / page * page;
        length_ = inside + 2 * page;
        base_ = static_cast<uint8_t*>(
            mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (base_ == MAP_FAILED) std::abort();
        mprotect(base_, page, PROT_NONE);
        mprotect(base_ + page + inside, page, PROT_NONE);
        data_ = base_ + page + (at_end ? inside - bytes : 0);
        bytes_ = bytes;
    }
    ~Guarded() { munmap(base_, length_); }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;

    uint8_t* data() const { return data_; }
    uintptr_t address() const { return reinterpret_cast<uintptr_t>(data_); }
    std::vector<uint8_t> copy() const { return std::vector<uint8_t>(data_, data_ + bytes_); }

    // Numbers in (-2, 2) of any floating-point format: its sign, highest exponent below 1 and
    // fraction stand in the high bits of a word.
    void fill(size_t element, uint32_t seed) const {
        uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
        for (size_t at = 0; at + element <= bytes_; at += element) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            write(data_ + at, element, static_cast<double>(state >> 11) * 0x1p-51 - 2.0);
        }
    }

    // `element` 2 is bfloat16, whose patterns read as float16 are numbers too.
    static void write(uint8_t* to, size_t element, double x) {
        if (element == 8) return static_cast<void>(std::memcpy(to, &x, 8));
        const float narrow = static_cast<float>(x);
        uint32_t bits;
        std::memcpy(&bits, &narrow, 4);
        if (element == 4) return static_cast<void>(std::memcpy(to, &bits, 4));
        const uint16_t high = static_cast<uint16_t>(bits >> 16);
        std::memcpy(to, &high, 2);
    }

private:
    uint8_t *base_, *data_;
    size_t length_, bytes_;
};

// Ends the program where two runs that must agree do not.
inline void demand(bool is_so, const char* what, const char* isa, int threads) {
    if (is_so) return;
    std::fprintf(stderr, "drive: %s differs for %s with %d threads\n", what, isa, threads);
    std::exit(1);
}

constexpr uint64_t drive_key = UINT64_C(0x8B1EF9904FBD598E);

// Each returns how many calls it made.
int drive_elementwise();
int drive_attention();

// Faults that the sanitizers must report.
void plant_overflow(const char* isa);
void plant_heap_overflow(const char* isa);
void plant_race(const char* isa);
void plant_attention_race(const char* isa);
void plant_undefined(const char* isa);
