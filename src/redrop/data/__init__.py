"""What a network reads: corpora, tokenizers, a language of known entropy, batches."""

from redrop.data.batch import batch, eval_batches
from redrop.data.corpus import Corpus
from redrop.data.load import load_corpus
from redrop.data.markov import MarkovSource
from redrop.data.tokenizer import Tokenizer, build_tokenizer, tokenizer_from_json

__all__ = [
    "Corpus",
    "MarkovSource",
    "Tokenizer",
    "batch",
    "build_tokenizer",
    "eval_batches",
    "load_corpus",
    "tokenizer_from_json",
]
