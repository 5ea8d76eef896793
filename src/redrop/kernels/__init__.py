"""The mask applied, fast: native code where it runs, plain PyTorch everywhere else."""
