"""Are the sentiment texts whole, labelled alike, and is what is missing named?"""

from collections import Counter

import pytest

from neurocl.primitives.checks import BadInput
from neurocl.streams.datasets.sentiment import sentiment_texts


def test_the_phrase_bank_has_its_published_counts_and_a_fixed_test_part(neurocl_data):
    found = sentiment_texts("phrasebank")
    assert Counter(label for _, label in found.train + found.test) == {0: 604, 1: 2879, 2: 1363}
    assert len(found.test) == 4846 // 5
    assert not {text for text, _ in found.test[:50]} & {text for text, _ in found.train[:50]}
    assert all("@" not in text[-12:] for text, _ in found.train[:100])


def test_reviews_are_balanced_and_labelled_as_the_phrases_are(neurocl_data):
    found = sentiment_texts("imdb")
    assert Counter(label for _, label in found.train) == {0: 1250, 2: 1250}
    assert Counter(label for _, label in found.test) == {0: 1250, 2: 1250}
    gushing = [label for text, label in found.train if "wonderful" in text]
    assert sum(gushing) / len(gushing) > 1.2


@pytest.mark.usefixtures("as_installed")
def test_what_is_missing_or_unknown_is_one_clear_line(tmp_path, monkeypatch):
    sentiment_texts.cache_clear()
    monkeypatch.setenv("NEUROCL_DATA", str(tmp_path))
    with pytest.raises(BadInput, match=r"aclImdb-subset\.tar\.xz is missing .* NEUROCL_DATA"):
        sentiment_texts("imdb")
    with pytest.raises(BadInput, match="no set of texts named 'imdbs'; did you mean 'imdb'"):
        sentiment_texts("imdbs")
