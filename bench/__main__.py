"""All benchmarks, one after the other: `python -m bench`."""

from bench import attention, dropout, fused, memory, step

for subject in (dropout, fused, memory, step, attention):
    subject.main()
