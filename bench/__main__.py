"""All benchmarks, one after the other: `python -m bench`."""

from bench import attention, dropout, memory, step

for subject in (dropout, memory, step, attention):
    subject.main()
