"""Curves that people would rather see than read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fspo_core.worlds.optimum import CeilingRow


def plot_ceiling(rows: Sequence[CeilingRow], path: Path) -> None:
    """Ceiling, oracle, copycat and the best answer for everybody, by number of labels."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = list(dict.fromkeys((r.world, r.users) for r in rows))
    figure, axes = plt.subplots(
        2, (len(panels) + 1) // 2, figsize=(3.4 * ((len(panels) + 1) // 2), 6.4),
        sharey=True, squeeze=False,
    )  # fmt: skip
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    # Worlds side by side: what is trained on above, what is held out below.
    order = [p for p in panels if p[1] == "train"] + [p for p in panels if p[1] != "train"]
    for axis, (world, users) in zip(axes.flat, order, strict=False):
        mine = [r for r in rows if (r.world, r.users) == (world, users)]
        places = range(len(mine))
        for key, color in (("oracle", "#55a868"), ("ceiling", "#4c72b0"), ("copycat", "#dd8452")):
            values = [getattr(r, key) for r in mine]
            errors = [1.96 * getattr(r, f"{key}_error") for r in mine]
            axis.errorbar(places, values, errors, color=color, marker="o", capsize=2, label=key)
        axis.axhline(mine[0].agnostic, color="#8172b3", linestyle="--", label="best for everybody")
        axis.axhline(50, color="black", linewidth=0.8)
        axis.set_xticks(list(places), [str(r.shots) for r in mine])
        axis.set_title(f"{world}, {users} users", fontsize=9)
        axis.set_xlabel("labels")
    axes[0][0].set_ylabel("winrate against random answers, %")
    axes[0][0].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
