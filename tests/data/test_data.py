import redrop.data


def test_the_public_names_are_sorted_complete_and_there():
    assert redrop.data.__all__ == [
        "Corpus",
        "MarkovSource",
        "Tokenizer",
        "batch",
        "build_tokenizer",
        "eval_batches",
        "load_corpus",
        "tokenizer_from_json",
    ]
    assert all(hasattr(redrop.data, name) for name in redrop.data.__all__)
