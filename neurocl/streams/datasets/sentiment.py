"""Texts with a sentiment, from the files as published: Financial PhraseBank, and IMDB reviews (a subset will do)."""

import tarfile
from dataclasses import dataclass
from functools import cache

import torch

from neurocl.primitives.checks import BadInput, check_name
from neurocl.primitives.seeding import generator
from neurocl.streams.datasets.files import data_folder

LABELS = {"negative": 0, "neutral": 1, "positive": 2}  # the same in both sets; films are never neutral
FILES = {
    "phrasebank": "sentiment/financial_phrasebank/Sentences_50Agree.txt",
    "imdb": "sentiment/imdb_subset/aclImdb-subset.tar.xz",
}
SHORT = {"neg": "negative", "pos": "positive"}


@dataclass(frozen=True, kw_only=True)
class SentimentTexts:
    """Training and test texts, each with its label: 0 negative, 1 neutral, 2 positive."""

    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]


@cache
def sentiment_texts(name: str) -> SentimentTexts:
    """Return ``"phrasebank"`` (sentences on which half of the annotators agree) or ``"imdb"``.

    The phrase bank has no published test part: a fifth of it, drawn once and for all, is held out.

    Raises:
        BadInput: For an unknown name, or a file that is not in the folder of datasets.

    Source:
        Malo et al. 2014, Good debt or bad debt; Maas et al. 2011, Learning word vectors for sentiment analysis.
    """
    path = data_folder() / FILES[check_name("set of texts", name, FILES)]
    if not path.is_file():
        raise BadInput(f"{FILES[name]} is missing in {data_folder()}: put it there, or set NEUROCL_DATA to its folder")
    if name == "phrasebank":
        pairs = [line.rsplit("@", 1) for line in path.read_text("latin-1").splitlines()]
        order = torch.randperm(len(pairs), generator=generator(0, "phrasebank")).tolist()
        found = [(pairs[place][0], LABELS[pairs[place][1].strip()]) for place in order]
        return SentimentTexts(train=tuple(found[len(found) // 5 :]), test=tuple(found[: len(found) // 5]))
    parts: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    with tarfile.open(path) as tar:
        for entry in sorted(tar.getmembers(), key=lambda entry: entry.name):
            if (file := tar.extractfile(entry)) is not None:  # aclImdb/train/pos/0_9.txt
                _, part, kind, _ = entry.name.split("/")
                parts[part].append((file.read().decode(), LABELS[SHORT[kind]]))
    return SentimentTexts(train=tuple(parts["train"]), test=tuple(parts["test"]))
