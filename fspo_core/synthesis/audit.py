"""``fspo audit``: is a data set diverse, balanced, hard to guess, and free of leaks?

Counts run over every row; a text's sentences have the phrases of its question replaced by a slot,
so that what is counted are wordings. What needs more than a count (distinct-n, self-BLEU, near
duplicates, the predictors of labels) runs over every k-th row; the report says how many those are.
"""

from __future__ import annotations

import json
import multiprocessing
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fspo_core.errors import DataError
from fspo_core.worlds.language import sentences_of
from fspo_core.worlds.nouns import lemma

SAMPLE_ROWS = 24_000  # a world and split, for what needs more than a count
BLEU_TEXTS = 100
COMMONEST = 100
SHINGLE = 8  # words; two texts that share half of theirs are near duplicates
NEAR_DUPLICATE = 0.5
AGREEMENT_USERS = 60
Progress = Callable[[int], None]


@dataclass(slots=True)
class Tally:
    """What is counted over rows; tallies of shards add up."""

    rows: int = 0
    x_preferred: int = 0
    longer_preferred: int = 0
    words_chosen: int = 0
    words_rejected: int = 0
    sentences: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    topics: Counter[str] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)
    user_labels: Counter[tuple[str, int]] = field(default_factory=Counter)
    sample: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take up another tally."""
        for name in ("rows", "x_preferred", "longer_preferred", "words_chosen",
                     "words_rejected", "sentences"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("forms", "topics", "templates", "user_labels"):
            getattr(self, name).update(getattr(other, name))
        self.sample += other.sample


def tally_shard(path: Path, every: int) -> Tally:
    """Count one shard."""
    tally = Tally()
    for batch in pq.ParquetFile(path).iter_batches(batch_size=4096):
        for row in batch.to_pylist():
            _count(row, tally)
            if tally.rows % every == 0:
                tally.sample.append(row)
    return tally


def _count(row: dict[str, Any], tally: Tally) -> None:
    tally.rows += 1
    texts = (row["response_x"], row["response_y"])
    label = row["label"]
    words = [text.count(" ") + text.count("\n") + 1 for text in texts]
    tally.x_preferred += label == 0
    # Of equal lengths every other one counts.
    tally.longer_preferred += words[label] > words[1 - label] or (
        words[0] == words[1] and tally.rows % 2 == 1
    )
    tally.words_chosen += words[label]
    tally.words_rejected += words[1 - label]
    tally.forms[row["form"]] += 1
    tally.topics[row["topic"]] += 1
    tally.user_labels[row["user_id"], label] += 1
    for text in texts:
        found = templates_of(text, row["slots"])
        tally.sentences += len(found)
        tally.templates.update(found)


def templates_of(text: str, slots: Sequence[str]) -> list[str]:
    """The sentences of a text without their numbers, the question's phrases replaced."""
    for phrase in slots:
        text = text.replace(phrase, "{}").replace(phrase[0].upper() + phrase[1:], "{}")
    return sentences_of(text)


def rows_in(folder: Path) -> int:
    """How many preferences the data set's manifest names."""
    return int(_manifest(folder)["preferences"])


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise DataError(f"{folder} has no manifest.json: not a finished data set")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def audit(
    folder: Path, *, processes: int = 2, progress: Progress = lambda _: None
) -> dict[str, Any]:
    """The audit of a data set that ``fspo synthesize`` wrote, as plain figures.

    Raises DataError for a folder without a manifest or with a shard missing.
    """
    manifest = _manifest(folder)
    shards = [folder / name for name in manifest["files"] if not name.endswith("users.parquet")]
    for shard in shards:
        if not shard.is_file():
            raise DataError(f"{shard} is in the manifest and not in the folder")
    report: dict[str, Any] = {"preferences": manifest["preferences"], "sha256": manifest["sha256"]}
    report["worlds"] = {}
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for world, counts in manifest["counts"].items():
            tallies = {}
            for split, rows in counts.items():
                every = max(1, rows // SAMPLE_ROWS)
                mine = [s for s in shards if s.parent.name == world and s.stem.startswith(split)]
                tallies[split] = Tally()
                # In order, so that the sample does not depend on which process was quicker.
                for tally in pool.imap(_tally_shard, [(shard, every) for shard in mine]):
                    tallies[split].add(tally)
                    progress(tally.rows)
            report["worlds"][world] = _world_report(world, folder, tallies)
    return report


def _tally_shard(item: tuple[Path, int]) -> Tally:
    return tally_shard(*item)


def _world_report(world: str, folder: Path, tallies: dict[str, Tally]) -> dict[str, Any]:
    splits = {split: _split_report(tally) for split, tally in tallies.items()}
    users = pq.read_table(folder / world / "users.parquet").to_pylist()
    sample = [row for tally in tallies.values() for row in tally.sample]
    return {
        "splits": splits,
        "leakage": leakage(tallies["train"], tallies["heldout"], users),
        "predictors": label_predictors(tallies["train"].sample),
        "agreement": agreement(users, sample),
    }


def _split_report(tally: Tally) -> dict[str, Any]:
    common = tally.templates.most_common(COMMONEST)
    answers = [row[name] for row in tally.sample[:6000] for name in ("response_x", "response_y")]
    return {
        "rows": tally.rows,
        "users": len({user for user, _ in tally.user_labels}),
        "topics": len(tally.topics),
        "forms": dict(tally.forms.most_common()),
        "x_preferred": tally.x_preferred / tally.rows,
        "longer_preferred": tally.longer_preferred / tally.rows,
        "words_chosen": tally.words_chosen / tally.rows,
        "words_rejected": tally.words_rejected / tally.rows,
        "label_entropy_bits": label_entropy(tally.user_labels),
        "sentences": tally.sentences,
        "distinct_templates": len(tally.templates),
        "commonest_share": sum(n for _, n in common) / tally.sentences,
        "commonest": [text for text, _ in common[:5]],
        "distinct": {str(n): distinct_n(answers, n) for n in (1, 2, 3)},
        "self_bleu": self_bleu(answers[: 2 * BLEU_TEXTS : 2]),
        "sample_rows": len(tally.sample),
    }


def label_entropy(counts: Counter[tuple[str, int]]) -> dict[str, float]:
    """Entropy in bits of each user's labels (x or y preferred): mean and least over users."""
    users = sorted({user for user, _ in counts})
    entropies = []
    for user in users:
        n = np.array([counts[user, 0], counts[user, 1]], dtype=float)
        p = n[n > 0] / n.sum()
        entropies.append(float(-(p * np.log2(p)).sum()))
    return {"mean": float(np.mean(entropies)), "least": float(min(entropies))}


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams over all n-grams (Li et al., 2016), in words, case ignored."""
    grams: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        words = text.lower().split()
        mine = list(zip(*(words[i:] for i in range(n)), strict=False))
        grams.update(mine)
        total += len(mine)
    return len(grams) / max(1, total)


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU of each text against all others (Zhu et al., 2018), 0 to 100; low is diverse."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(effective_order=True)
    scores = [
        bleu.sentence_score(text, [*texts[:i], *texts[i + 1 :]]).score
        for i, text in enumerate(texts)
    ]
    return float(np.mean(scores))


def leakage(train: Tally, heldout: Tally, users: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What both splits have: users, combinations of likes, topics, wordings, near duplicates.

    Both splits of ELIX-easy have the same five users, as in the paper.
    """
    by_split: dict[str, set[str]] = {"train": set(), "heldout": set()}
    combinations: dict[str, set[tuple[int, ...]]] = {"train": set(), "heldout": set()}
    for user in users:
        by_split[user["split"]].add(user["user_id"])
        combinations[user["split"]].add(tuple(np.sign(user["weights"]).astype(int)))
    topics = [
        {lemma(part) for topic in tally.topics for part in topic.split("; ") if part}
        for tally in (train, heldout)
    ]
    return {
        "users": len(by_split["train"] & by_split["heldout"]),
        "combinations": len(combinations["train"] & combinations["heldout"]),
        "topics": len(topics[0] & topics[1]),
        "wordings": len(train.templates.keys() & heldout.templates.keys()),
        "near_duplicates": near_duplicates(train.sample, heldout.sample),
        "of_sampled_answers": 2 * len(heldout.sample),
    }


def near_duplicates(train: Sequence[dict[str, Any]], heldout: Sequence[dict[str, Any]]) -> int:
    """How many held-out answers share at least half of their 8-word shingles with one of train."""
    where: dict[int, list[int]] = {}
    for number, row in enumerate(train):
        for side, name in enumerate(("response_x", "response_y")):
            for shingle in shingles(row[name]):
                where.setdefault(shingle, []).append(2 * number + side)
    found = 0
    for row in heldout:
        for name in ("response_x", "response_y"):
            mine = shingles(row[name])
            shared = Counter(at for shingle in mine for at in where.get(shingle, ()))
            most = max(shared.values(), default=0)
            found += most >= NEAR_DUPLICATE * max(1, len(mine))
    return found


def shingles(text: str) -> set[int]:
    """Hashes of a text's runs of eight words; of the whole text where it is shorter."""
    words = re.findall(r"\w+", text.lower())
    runs = range(max(1, len(words) - SHINGLE + 1))
    return {hash(tuple(words[i : i + SHINGLE])) for i in runs}


def label_predictors(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Accuracy of user-agnostic guesses on the second half of the rows, fitted on the first.

    ``length``: the longer response, or the shorter, whichever the first half prefers;
    ``first_words``: log odds of the responses' first three words; ``attributes``: logistic
    regression on the differences of all latent attributes and of length.
    """
    order = np.random.default_rng(0).permutation(len(rows))
    rows = [rows[i] for i in order]
    wins = np.array([row["label"] == 0 for row in rows])
    half = len(rows) // 2
    lengths = np.array(
        [len(r["response_x"].split()) - len(r["response_y"].split()) for r in rows], dtype=float
    )
    values = np.array([np.subtract(row["values_x"], row["values_y"]) for row in rows], dtype=float)
    longer_wins = np.mean((lengths > 0)[:half] == wins[:half]) >= 0.5
    features = np.column_stack([values, lengths / max(1.0, float(lengths.std()))])
    guess = _logistic(features[:half], wins[:half].astype(float))
    first = _first_words_guess(rows, wins, half)
    return {
        "length": float(np.mean(((lengths > 0) == longer_wins)[half:] == wins[half:])),
        "first_words": float(np.mean((first > 0) == wins[half:])),
        "attributes": float(np.mean((features[half:] @ guess > 0) == wins[half:])),
        "rows": len(rows) - half,
    }


def _first_words_guess(
    rows: Sequence[dict[str, Any]], wins: NDArray[np.bool_], half: int
) -> NDArray[np.float64]:
    won: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for row, first_won in zip(rows[:half], wins[:half], strict=True):
        for name, winner in (("response_x", first_won), ("response_y", not first_won)):
            (won if winner else lost).update(row[name].lower().split()[:3])

    def score(text: str) -> float:
        odds = [np.log((won[w] + 5) / (lost[w] + 5)) for w in text.lower().split()[:3]]
        return float(sum(odds))

    return np.array([score(r["response_x"]) - score(r["response_y"]) for r in rows[half:]])


def _logistic(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of a logistic regression without intercept, lightly ridged."""
    from scipy.optimize import minimize

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = x @ w
        p = 1 / (1 + np.exp(-np.clip(z, -30, 30)))
        value = float(np.mean(np.logaddexp(0, -z * (2 * y - 1)))) + 1e-4 * float(w @ w)
        return value, x.T @ (p - y) / len(y) + 2e-4 * w

    return np.asarray(minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x)


def agreement(users: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How often two users prefer the same answer of a pair, without noise; ties count half.

    The matrix is over up to 60 users, evenly drawn, each beside those most like them.
    """
    unique = {user["user_id"]: user for user in users}
    evenly = max(1, len(unique) // AGREEMENT_USERS)
    chosen = [unique[key] for key in sorted(unique)][::evenly][:AGREEMENT_USERS]
    pairs = rows[:: max(1, len(rows) // 600)]
    gaps = np.array([np.subtract(r["values_x"], r["values_y"]) for r in pairs], dtype=float)
    signs = np.sign(np.array([u["weights"] for u in chosen]) @ gaps.T)
    same = (signs[:, None] == signs[None]) & (signs[:, None] != 0)
    tied = (signs[:, None] == 0) | (signs[None] == 0)
    matrix = (same + 0.5 * tied).mean(axis=2)
    order = _seriate(matrix)
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    return {
        "users": [chosen[i]["user_id"] for i in order],
        "matrix": np.round(matrix[np.ix_(order, order)], 3).tolist(),
        "mean": float(off.mean()), "least": float(off.min()), "most": float(off.max()),
    }  # fmt: skip


def _seriate(matrix: NDArray[np.float64]) -> list[int]:
    """An order in which each user stands beside the most like of those left."""
    left = set(range(1, len(matrix)))
    order = [0]
    while left:
        nearest = max(left, key=lambda j: (matrix[order[-1], j], -j))
        order.append(nearest)
        left.remove(nearest)
    return order


def plot(report: dict[str, Any], path: Path) -> None:
    """One page of figures: balance, predictors, coverage, lengths, agreement matrices."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    worlds = list(report["worlds"])
    figure, axes = plt.subplots(3, len(worlds), figsize=(4.2 * len(worlds), 11), squeeze=False)
    for column, world in enumerate(worlds):
        entry = report["worlds"][world]
        _bars(axes[0][column], world, entry)
        _coverage(axes[1][column], entry)
        shown = axes[2][column].imshow(
            entry["agreement"]["matrix"], vmin=0, vmax=1, cmap="viridis", interpolation="nearest"
        )
        axes[2][column].set_title(
            f"agreement of users, mean {entry['agreement']['mean']:.2f}", fontsize=10
        )
        axes[2][column].set_xlabel("user")
        axes[2][column].set_ylabel("user")
        figure.colorbar(shown, ax=axes[2][column], fraction=0.046, label="same answer preferred")
    figure.suptitle(f"{report['preferences']:,} preferences, data set {report['sha256'][:12]}")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axis: Any, world: str, entry: dict[str, Any]) -> None:
    names = {"length": "length", "first_words": "first words", "attributes": "all attributes"}
    shares = [100 * entry["predictors"][key] for key in names]
    train = entry["splits"]["train"]
    labels = [*names.values(), "x preferred", "longer preferred"]
    shares += [100 * train["x_preferred"], 100 * train["longer_preferred"]]
    axis.barh(labels, shares, color=["#4c72b0"] * 3 + ["#bbbbbb"] * 2)
    axis.axvline(50, color="black", linewidth=0.8)
    axis.axvline(60, color="#c44e52", linewidth=0.8, linestyle="--")
    axis.set_xlim(40, 70)
    axis.invert_yaxis()
    axis.set_xlabel("% of labels")
    axis.set_title(f"{world}: labels guessed without the user", fontsize=10)


def _coverage(axis: Any, entry: dict[str, Any]) -> None:
    for split, color in (("train", "#4c72b0"), ("heldout", "#dd8452")):
        part = entry["splits"][split]
        axis.bar(split, 100 * part["commonest_share"], color=color)
        axis.annotate(
            f"{part['distinct_templates']:,} distinct", (split, 100 * part["commonest_share"]),
            ha="center", va="bottom", fontsize=8,
        )  # fmt: skip
    axis.axhline(10, color="#c44e52", linewidth=0.8, linestyle="--")
    axis.set_ylim(0, 50)
    axis.set_ylabel("% of all sentences")
    axis.set_title("the 100 commonest sentences", fontsize=10)
