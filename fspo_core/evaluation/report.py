"""docs/results.md and its plot, from the JSON that ``fspo evaluate`` and ``fspo gates`` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def results_markdown(winrates: Mapping[str, Any], gates: Mapping[str, Any], plot: str) -> str:
    """The whole document."""
    rows, arms = winrates["rows"], winrates["arms"]
    return "\n".join(
        [
            "# Results",
            "",
            "Written by `fspo report` from the files of the commands named here.",
            "",
            "## Winrates in the synthetic world",
            "",
            f"`fspo evaluate {winrates['options']} --json FILE`:",
            "held-out users, questions and topics (`--wording` is that of the labelled pairs); the",
            "known reward decides; ties count half; 95 % intervals over users.",
            winrates["provenance"],
            *(
                []
                if winrates.get("same_world")
                else [
                    "The checkpoint was trained on an earlier version of this world",
                    "(docs/lab-notes.md).",
                ]
            ),
            "",
            f"![Winrates with intervals]({plot})",
            "",
            *_table(
                ("arm", "against", "shots", "winrate %", "95 % interval", "users", "judgments"),
                [
                    (
                        r["arm"], r["against"], r["shots"], _percent(r["winrate"]),
                        f"{_percent(r['low'])} – {_percent(r['high'])}",
                        r["users"], r["judgments"],
                    )
                    for r in rows
                ],
            ),
            "",
            *_table(
                ("arm", "passes the quality gate %", "names the topic %", "words"),
                [
                    (
                        a["arm"], _percent(a["gate_pass_rate"]), _percent(a["topic_named"]),
                        round(a["words"]),
                    )
                    for a in arms
                ],
            ),
            "",
            *_table(
                ("arm", "winrate % by detector a", "by detector b"),
                [
                    (d["arm"], _percent(d["detector_a"]), _percent(d["detector_b"]))
                    for d in winrates["detectors"]
                ],
            ),
            "",
            "*swapped* is the fspo arm with chosen and rejected exchanged in its context,",
            "*stranger* the fspo arm with another user's labels.",
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


def plot_winrates(rows: Sequence[Row], image: Path) -> None:
    """A forest plot of the rows, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 0.45 * len(rows) + 1))
    names = [f"{r['arm']} – {r['against']}" for r in rows]
    for place, r in enumerate(rows):
        axis.plot([100 * r["low"], 100 * r["high"]], [place, place], color="#35618f", linewidth=2)
        axis.plot(100 * r["winrate"], place, "o", color="#35618f")
    axis.axvline(50, color="#888", linestyle="--", linewidth=1)
    axis.set(yticks=range(len(rows)), xlim=(0, 100), xlabel="winrate (%), 95 % interval")
    axis.set_yticklabels(names)
    axis.invert_yaxis()
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
