"""Augmentation of text: noise on tokens, edits of words, sentences said anew by a model.

Only what loads no torch is re-exported. The noise on the tokens of a batch is in
`redrop.regularize.text.token_noise`; a model is loaded when a sentence needs it.
"""

from redrop.regularize.text.generation_settings import GenerationSettings
from redrop.regularize.text.text_augmentation import TextAugmentation, augment_text
from redrop.regularize.text.thesaurus import Thesaurus, read_thesaurus

__all__ = [
    "GenerationSettings",
    "TextAugmentation",
    "Thesaurus",
    "augment_text",
    "read_thesaurus",
]
