"""Which kernels serve the operators here; the layers above ask this, not the kernels."""

from redrop.kernels.dispatch import describe as describe_backend

__all__ = ["describe_backend"]
