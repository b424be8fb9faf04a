"""docs/results.md and its plot, from the JSON that ``fspo evaluate`` and ``fspo gates`` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
SPLITS = {"train": "trained users", "heldout": "held-out users"}


def results_markdown(winrates: Mapping[str, Any], gates: Mapping[str, Any], plot: str) -> str:
    """The whole document."""
    rows = winrates["rows"]
    return "\n".join(
        [
            "# Results",
            "",
            "Written by `fspo report` from the files of the commands named here.",
            "",
            "## Winrates in the synthetic worlds",
            "",
            f"`fspo evaluate {winrates['options']} --json FILE`: winrates in percent",
            "against the base, by the known reward, on held-out questions (`--wording` is that of",
            "the labelled pairs); ties count half; 95 % intervals over people. *ceiling* knows the",
            "world and sees the labels; *copycat* takes over the attributes of one chosen answer;",
            "*swapped* is the fspo arm with chosen and rejected exchanged in its context,",
            "*stranger* with labels of somebody who likes something else.",
            winrates["provenance"],
            *_older(winrates["same_world"]),
            "",
            f"![Winrates with intervals]({plot})",
            "",
            *_by_column(rows),
            *_headline(winrates["headline"]),
            "",
            *_details(rows),
            "",
            "## Gates of the embedded model",
            "",
            f"`fspo gates --users {gates['labels'][0]['users']} --json FILE`;",
            "the labelled pairs are in wordings that training never showed.",
            gates["provenance"],
            "",
            *_table(
                ("arm", "names a topic never seen in training %", "questions"),
                [(t["arm"], _percent(t["named"]), t["questions"]) for t in gates["topics"]],
            ),
            "",
            *_table(
                (
                    "reader", "shots", "labels predicted %", "95 % interval", "log loss, nats",
                    "calibration error", "labels",
                ),
                [
                    (
                        g["reader"], g["shots"], _percent(g["accuracy"]),
                        f"{_percent(g['low'])} – {_percent(g['high'])}", f"{g['log_loss']:.3f}",
                        f"{g['calibration_error']:.3f}", g["labels"],
                    )
                    for g in gates["labels"]
                ],
            ),
            "",
        ]
    )  # fmt: skip


def _older(same_world: Mapping[str, bool]) -> list[str]:
    older = [name for name, same in same_world.items() if not same]
    if not older:
        return []
    return [f"The checkpoint was trained on an earlier version of {', '.join(older)}."]


def _column(row: Row) -> tuple[str, str, int]:
    return row["world"], row["user_split"], row["shots"]


def _by_column(rows: Sequence[Row]) -> list[str]:
    """A line an arm, a column a world, split and number of labels."""
    columns = list(dict.fromkeys(map(_column, rows)))
    pairings = list(dict.fromkeys((r["arm"], r["against"]) for r in rows))
    found = {(r["arm"], r["against"], _column(r)): r for r in rows}
    lines = []
    for arm, against in pairings:
        cells = []
        for column in columns:
            r = found[arm, against, column]
            interval = f"{100 * r['low']:.0f}–{100 * r['high']:.0f}"
            cells.append(f"{_percent(r['winrate'])} ({interval})")
        lines.append((arm if against == "base" else f"{arm} against {against}", *cells))
    heads = [f"{world} {SPLITS[users]}, {shots}" for world, users, shots in columns]
    return _table(("arm", *heads), lines)


def _headline(means: Mapping[str, float]) -> list[str]:
    if not means:
        return []
    said = ", ".join(f"{arm} {_percent(mean)}" for arm, mean in means.items())
    return ["", f"Mean of the three domains' means at 8 labels: {said}."]


def _details(rows: Sequence[Row]) -> list[str]:
    lines = [
        (
            r["world"], SPLITS[r["user_split"]], r["shots"], r["arm"], _share(r),
            _or_dash(r["both_pass"]), _or_dash(r["equal_length"]), _or_dash(r["indifferent"]),
            f"{_percent(r['detector_a'])}, {_percent(r['detector_b'])}",
            _percent(r["gate_pass_rate"]), _percent(r["topic_named"]), round(r["words"]),
            round(r["prompt_tokens"]), round(r["tokens"]),
        )
        for r in rows
        if r["against"] == "base"
    ]  # fmt: skip
    head = (
        "world", "users", "labels", "arm", "% of the ceiling", "both pass %", "equal lengths %",
        "length does not matter %", "by detector a, b %", "passes the gate %", "names the topic %",
        "words", "prompt tokens", "tokens",
    )  # fmt: skip
    return _table(head, lines)


def _share(row: Row) -> str:
    if row["share"] is None:
        return "–"
    return f"{100 * row['share']:.0f} ({100 * row['share_low']:.0f}–{100 * row['share_high']:.0f})"


def _or_dash(fraction: float | None) -> str:
    return "–" if fraction is None else _percent(fraction)


def plot_winrates(rows: Sequence[Row], image: Path) -> None:
    """A forest plot of each column, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    columns = list(dict.fromkeys(map(_column, rows)))
    pairings = list(dict.fromkeys((r["arm"], r["against"]) for r in rows))
    width = min(4, len(columns))
    figure, axes = plt.subplots(
        -(-len(columns) // width), width, squeeze=False, sharex=True, sharey=True,
        figsize=(2 + 2.6 * width, (0.3 * len(pairings) + 0.9) * -(-len(columns) // width)),
    )  # fmt: skip
    for axis in axes.flat[len(columns) :]:
        axis.set_visible(False)
    for axis, column in zip(axes.flat, columns, strict=False):
        for r in (r for r in rows if _column(r) == column):
            place = pairings.index((r["arm"], r["against"]))
            low, high = 100 * r["low"], 100 * r["high"]
            axis.plot([low, high], [place, place], color="#35618f", linewidth=2)
            axis.plot(100 * r["winrate"], place, "o", color="#35618f", markersize=4)
        axis.axvline(50, color="#888", linestyle="--", linewidth=1)
        axis.set(xlim=(0, 100), yticks=range(len(pairings)))
        axis.set_title(f"{column[0]} {SPLITS[column[1]]}, {column[2]} labels", fontsize=9)
        axis.set_yticklabels([a if o == "base" else f"{a} against {o}" for a, o in pairings])
    axes[0, 0].invert_yaxis()
    figure.supxlabel("winrate (%) against the base, 95 % interval", fontsize=9)
    figure.tight_layout()
    figure.savefig(image, dpi=120)
    plt.close(figure)


def study_markdown(answers: Mapping[str, Any] | None, pages: Mapping[str, Any] | None) -> list[str]:
    """The waiting times of the web study, where they were measured."""
    lines = ["## The web study", ""] if answers or pages else []
    if answers:
        lines += [
            "`python -m tests.benchmarks.answer_latency --json FILE`: from a participant's own",
            "question to both answers, embedded model, worker warm, nothing precomputed.",
            answers["provenance"],
            "",
            *_table(
                ("questions", "median s", "95th percentile s"),
                [
                    (
                        len(answers["seconds"]),
                        f"{answers['median_s']:.2f}",
                        f"{answers['p95_s']:.2f}",
                    )
                ],
            ),
            "",
        ]
    if pages:
        every = pages["all"]
        lines += [
            "`python -m tests.benchmarks.page_latency --json FILE`: the server's time for a page",
            "while the worker writes "
            f"(answers due at the beginning: {pages['answers_due']['before']}).",
            pages["provenance"],
            "",
            *_table(
                ("requests", "median ms", "95th percentile ms"),
                [(every["requests"], f"{every['median_ms']:.0f}", f"{every['p95_ms']:.0f}")],
            ),
            "",
        ]
    return lines


def write(
    winrates_file: Path,
    gates_file: Path,
    out: Path,
    *,
    answers_file: Path | None = None,
    pages_file: Path | None = None,
) -> None:
    """Write ``out`` and a plot beside it."""
    winrates = json.loads(winrates_file.read_text(encoding="utf-8"))
    gates = json.loads(gates_file.read_text(encoding="utf-8"))
    image = out.with_name("winrates.png")
    plot_winrates(winrates["rows"], image)
    answers, pages = (
        json.loads(file.read_text(encoding="utf-8")) if file else None
        for file in (answers_file, pages_file)
    )
    text = results_markdown(winrates, gates, image.name)
    text = "\n".join([text, *study_markdown(answers, pages)])
    out.write_text(text, encoding="utf-8")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return [*lines, *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)]
