"""docs/benchmarks.md and its plot, from the JSON of ``fspo bench train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(figures_file: Path, out: Path) -> None:
    """Write the page and ``bench_train.png`` beside it."""
    figures = json.loads(figures_file.read_text(encoding="utf-8"))
    plot(figures, out.parent / "bench_train.png")
    out.write_text(markdown(figures), encoding="utf-8")


def markdown(figures: dict[str, Any]) -> str:
    """The page."""
    made = figures["provenance"]
    setting = figures["setting"]
    lines = [
        "# Benchmarks", "",
        "Written by `fspo bench report JSON` from the figures of the command named here.", "",
        "## Training with contexts computed once", "",
        f"`fspo bench train --device {setting['device']} --json JSON`: {setting['name']}, "
        f"{'bfloat16' if setting['bf16'] else 'float32'}, queries of 40 and responses of 330 "
        "tokens; policy forward and backward and reference forward.",
        "An example is one pair. Peers compute the context twice for every pair: their examples a "
        "second do not depend on K.",
        "*Limit*: what fewer operations alone can give against the concatenated forward with "
        "logits at response positions only.",
        "Peak memory is the process's. *Useful*: operations with everything shared, as a share of "
        "one large matrix product's speed in the same run.",
        made, "",
        "![Speed-up by K](bench_train.png)", "",
        "| method | K | context | examples/s | × TRL | × concatenated | limit | peak MB | "
        "useful % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for row in sorted(figures["rows"], key=lambda r: (r["context"], r["method"], r["pairs"])):
        key = f"k{row['pairs']}_c{row['context']}"
        ours = row["method"] == "ours"
        cells = [
            f"{figures[name]:.2f}" if ours and name in figures else ""
            for name in (f"ratio_trl_{key}", f"ratio_concatenated_{key}", f"limit_{key}")
        ]
        useful = 100 * row["useful_flops_per_second"] / figures["matrix_peak_flops"]
        lines.append(
            f"| {row['method']} | {row['pairs'] if ours else 'any'} | {row['context']:,} | "
            f"{row['examples_per_second']:.3f} | {' | '.join(cells)} | "
            f"{row['peak_memory_mb']:,.0f} | {useful:.1f} |"
        )
    if figures["accuracy"]:
        lines += [
            "",
            "Pairs of one user give correlated gradients, so that time to equal accuracy decides: "
            "IPO on the embedded model, 4 shots, seconds of",
            "training steps until the labels of 32 held-out users were first predicted so well.",
            "",
            "| K | held-out accuracy | seconds to it | best within the steps | steps |",
            "| --- | --- | --- | --- | --- |",
        ]
        for row in figures["accuracy"]:
            reached = "not reached" if row["seconds"] is None else f"{row['seconds']:.0f}"
            lines.append(
                f"| {row['pairs']} | {row['accuracy']:.2f} | {reached} | {row['best']:.3f} | "
                f"{row['steps']} |"
            )
    return "\n".join(lines) + "\n"


def plot(figures: dict[str, Any], image: Path) -> None:
    """Speed-up over both peers by K, with the limit, a panel a context length."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    ours = [row for row in figures["rows"] if row["method"] == "ours"]
    contexts = sorted({row["context"] for row in ours})
    drawing, axes = plt.subplots(1, len(contexts), figsize=(5 * len(contexts), 4), squeeze=False)
    for axis, context in zip(axes[0], contexts, strict=True):
        pairs = sorted(row["pairs"] for row in ours if row["context"] == context)
        for name, label in (
            ("ratio_trl", "against TRL's DPOTrainer"),
            ("ratio_concatenated", "against the concatenated forward"),
            ("limit", "limit by operations"),
        ):
            values = [figures.get(f"{name}_k{k}_c{context}") for k in pairs]
            style = "--" if name == "limit" else "-"
            axis.plot(pairs, values, style, marker="o", label=label)
        axis.axhline(1, color="grey", linewidth=0.8)
        axis.set(title=f"context of {context:,} tokens", xlabel="K, pairs that share it",
                 ylabel="times as many examples a second", xscale="log", xticks=pairs)  # fmt: skip
        axis.set_xticklabels([str(k) for k in pairs])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
    axes[0][0].legend(fontsize=8)
    drawing.tight_layout()
    drawing.savefig(image, dpi=110)
    plt.close(drawing)
