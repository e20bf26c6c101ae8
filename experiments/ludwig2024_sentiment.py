"""CLASSP keeps financial sentiment while film reviews are learnt, better than Adam, SGD and EWC (Ludwig 2024).

Financial PhraseBank (50 % agreement, 3 classes), then IMDB (the subset at hand, 2 classes), one shared 3-way head, one
transformer layer. Differs: labels mean the same in both sets, words hashed, mean over real tokens read out, 32
dimensions and 4 heads (600, 30), 40 tokens (30), fixed passes instead of a loss to stop at tuned by method, held-out
tests. Rates are chosen from three on held-out training texts; --quick takes the largest, and one seed.

Run: NEUROCL_DATA=... python experiments/ludwig2024_sentiment.py   (twelve minutes of one core)
"""

import re
import sys
import zlib
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from neurocl.cli.experiment import asked, save_table, spread
from neurocl.plasticity import CLASSP, OnlineEWC, fisher_diagonal
from neurocl.primitives.seeding import generator, seeded
from neurocl.streams.datasets.sentiment import sentiment_texts

SEEDS = range(3)
CLAIMS = ()  # what is measured is no table of runs
CHOOSING_SEED, WORDS, TOKENS, WIDTH, HEADS, PASSES, BATCH, FISHER = 100, 4096, 40, 32, 4, (4, 4), 32, 256
OUT = "results/experiments/ludwig2024_sentiment"
METHODS: dict[str, tuple[Any, tuple[float, ...], float, float]] = {  # rates, rate in task 2 to task 1, EWC's strength
    "SGD": (torch.optim.SGD, (0.1, 0.3, 1.0), 1.0, 0.0),
    "SGD, a tenth in task 2 (matched)": (torch.optim.SGD, (0.1, 0.3, 1.0), 0.1, 0.0),
    "Adam": (torch.optim.Adam, (3e-4, 1e-3, 3e-3), 1.0, 0.0),
    "Adam, EWC 5000 (implicit)": (torch.optim.Adam, (3e-4, 1e-3, 3e-3), 1.0, 5000.0),
    "AdaGrad": (torch.optim.Adagrad, (0.003, 0.01, 0.03), 1.0, 0.0),
    "CLASSP, relative 0.1": (CLASSP, (0.003, 0.01, 0.03), 1.0, 0.0),
    "CLASSP, relative 1": (partial(CLASSP, threshold=1.0), (0.003, 0.01, 0.03), 1.0, 0.0),
}


def tokens(pairs: tuple[tuple[str, int], ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Words as entries of a table, the same on every machine, 0 for padding; and labels."""
    words = [re.findall(r"[a-z']+|[0-9]+", text.lower())[:TOKENS] for text, _ in pairs]
    hashed = [[1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in some] for some in words]
    x = torch.tensor([some + [0] * (TOKENS - len(some)) for some in hashed])
    return x, torch.tensor([label for _, label in pairs])


class Reader(nn.Module):
    """Embedding, layer norm, a transformer layer, layer norm, mean over real tokens, three outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.before, self.after = nn.Embedding(WORDS, WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout=0.1, batch_first=True)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Return scores of texts ``[B, TOKENS]``."""
        real = (words > 0).unsqueeze(-1).float()
        x = self.after(self.layer(self.before(self.embedding(words)), src_key_padding_mask=words == 0))
        return self.head((x * real).sum(1) / real.sum(1).clamp_min(1))


def parts(name: str, seed: int, tested: bool) -> tuple[torch.Tensor, ...]:
    """Training texts and labels, and those to be judged by; a tenth of the training texts is held out."""
    found = sentiment_texts(name)
    x, y = tokens(found.train)
    held, train = torch.randperm(len(y), generator=generator(seed, name)).tensor_split([len(y) // 10])
    return x[train], y[train], *(tokens(found.test) if tested else (x[held], y[held]))


def run(make: Any, rate: float, *, fall: float, strength: float, seed: int, tested: bool) -> dict[str, float]:
    """Learn both sets and return accuracies."""
    with seeded(seed, "weights and dropout"):
        network, ewc, found = Reader(), OnlineEWC(strength=strength), {}
        optimiser, data = make(network.parameters(), lr=rate), [parts(n, seed, tested) for n in ("phrasebank", "imdb")]
        for place, (x, y, *_) in enumerate(data):
            network.train()
            optimiser.param_groups[0]["lr"] = rate * fall**place
            for number in range(PASSES[place]):
                for own in torch.randperm(len(y), generator=generator(seed, place, number)).split(BATCH):
                    optimiser.zero_grad()
                    cross_entropy(network(x[own]), y[own]).backward()
                    optimiser.step()
                    ewc.pull(network, step_size=rate)
            network.eval()
            if strength and not place:
                ewc.consolidate(network, fisher_diagonal(network, x[:FISHER], kind="empirical", labels=y[:FISHER]))
            with torch.no_grad():
                scores = [100 * float((network(tx).argmax(1) == ty).float().mean()) for _, _, tx, ty in data]
            found |= {"finance before": scores[0]} if not place else {"finance": scores[0], "films": scores[1]}
    return found | {"mean": (found["finance"] + found["films"]) / 2}


def main(quick: bool) -> int:
    """Choose, run, print and save."""
    heads = ("finance before", "finance", "films", "mean")
    lines, rows = ["| method | rate | " + " | ".join(heads) + " |", "|---|---:|" + "---:|" * 4], []
    for name, (make, rates, *rest) in METHODS.items():
        once = partial(run, make, fall=rest[0], strength=rest[1])
        tried = [0.0] if quick else [once(rate, seed=CHOOSING_SEED, tested=False)["mean"] for rate in rates]
        rate = rates[-1] if quick else rates[tried.index(max(tried))]
        runs = [once(rate, seed=seed, tested=True) for seed in SEEDS[: 1 if quick else None]]
        cells = [spread([each[head] for each in runs]) for head in heads]
        lines.append(f"| {name} | {rate} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
        rows.append({"method": name, "rate": rate, "runs": runs, "tried": tried})
    save_table(OUT, lines, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main("quick" in asked(__doc__, "quick").flags))
