// Calls every kernel of every instruction set that runs here, for the sanitizers to watch
// (.ci/sanitize). Right results are the business of tests/kernels; here runs that must agree, over
// threads and instruction sets, are compared so that nobody takes a kernel for run that was not.
//
//   drive                  the whole tour
//   drive <fault> [isa]    a fault that must be reported; without one the program ends well
#include "drive.h"

#include <cstring>

namespace {

struct Fault {
    const char* name;
    void (*plant)(const char* isa);
};

const Fault faults[] = {{"overflow", plant_overflow},
                        {"heap-overflow", plant_heap_overflow},
                        {"race", plant_race},
                        {"attention-race", plant_attention_race},
                        {"undefined", plant_undefined}};

}  // namespace

int main(int count, char** arguments) {
    if (count == 1) {
        const int elementwise = drive_elementwise(), attention = drive_attention();
        std::printf("%d elementwise calls, %d calls of attention\n", elementwise, attention);
        return 0;
    }
    for (const Fault& fault : faults)
        if (std::strcmp(arguments[1], fault.name) == 0)
            return fault.plant(count > 2 ? arguments[2] : ""), 0;
    std::fprintf(stderr, "drive: there is no fault '%s'\n", arguments[1]);
    return 2;
}
