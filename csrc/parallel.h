// The only place that starts threads.
//
//   run_tasks(tasks, threads, task)   task(i, thread) once for each i < tasks, on at most `threads`
//                                     threads, numbered from 0; returns when all are done
//
// With OpenMP whoever is free takes the next task, and the threads are those of torch's own
// kernels, which load the same library. ThreadSanitizer does not see into that library and would
// take each of its barriers for a race, so the build it checks (.ci/sanitize) uses bare POSIX
// threads. There tasks are dealt out in turns: neighbours never share a thread, so that an overlap
// between them is a race whatever the timing.
#pragma once

#include <cstdint>

#if defined(REDROP_POSIX_THREADS)
#include <pthread.h>
#else
#include <omp.h>
#endif

namespace redrop {
namespace {

#if defined(REDROP_POSIX_THREADS)
template <class Task>
struct Worker {
    const Task* task;
    int64_t tasks;
    int thread, threads;
    pthread_t id;

    static void* run(void* self) {
        const Worker& w = *static_cast<const Worker*>(self);
        for (int64_t i = w.thread; i < w.tasks; i += w.threads) (*w.task)(i, w.thread);
        return nullptr;
    }
};

template <class Task>
inline void run_tasks(int64_t tasks, int threads, const Task& task) {
    Worker<Task>* workers = new Worker<Task>[static_cast<size_t>(threads)];
    for (int t = 0; t < threads; ++t) {
        workers[t] = Worker<Task>{&task, tasks, t, threads, {}};
        if (pthread_create(&workers[t].id, nullptr, Worker<Task>::run, workers + t) != 0)
            __builtin_trap();
    }
    for (int t = 0; t < threads; ++t) pthread_join(workers[t].id, nullptr);
    delete[] workers;
}
#else
template <class Task>
inline void run_tasks(int64_t tasks, int threads, const Task& task) {
#pragma omp parallel num_threads(threads)
    {
        const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < tasks; ++i) task(i, thread);
    }
}
#endif

}  // namespace
}  // namespace redrop
