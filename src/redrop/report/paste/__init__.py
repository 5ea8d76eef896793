"""A recommended arm as text that can be pasted: redrop, plain PyTorch, Hugging Face."""

from redrop.report.paste.configurations import configurations, recommended_arm

__all__ = ["configurations", "recommended_arm"]
