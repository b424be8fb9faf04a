"""Episodes: one user's labelled context and branches on it, packed into one row.

A branch is a continuation (question and answer, or a description) that sees the first shots of the
context and itself, never another branch. One mechanism serves every objective: Pref-FT and
description branches, chosen and rejected branches for IPO, zero-shot branches that see no shots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fspo_core.errors import TrainingError


@dataclass(slots=True)
class Branch:
    """Token ids that continue the context's first ``prefix`` tokens.

    ``weights`` has one loss weight a token (0: not trained on); the first is always 0, since its
    predecessor in the row belongs to something else.
    """

    prefix: int
    ids: list[int]
    weights: list[float]


@dataclass(slots=True)
class Episode:
    """One user's context (token ids) and the branches on it."""

    context: list[int]
    branches: list[Branch] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.context) + sum(len(branch.ids) for branch in self.branches)


@dataclass(slots=True)
class Batch:
    """Packed rows. ``B`` rows of ``S`` tokens, ``T`` targets over all rows.

    ``mask`` is True where a position (row of the last two dimensions) may see another; None means
    plain causal attention. ``branch`` numbers the branches of the whole batch, in order.
    """

    input_ids: Tensor  # [B, S] int64
    position_ids: Tensor  # [B, S] int64
    mask: Tensor | None  # [B, 1, S, S] bool
    at: Tensor  # [T] flat index of the position that predicts the target
    target: Tensor  # [T] token id
    weight: Tensor  # [T] float32
    branch: Tensor  # [T] index of the branch
    branches: int
    tokens: int


def context_of(
    opening: Sequence[int], shots: Sequence[Sequence[int]]
) -> tuple[list[int], list[int]]:
    """Context ids and the length of the context after 0, 1, … shots."""
    ids, ends = list(opening), [len(opening)]
    for shot in shots:
        ids.extend(shot)
        ends.append(len(ids))
    return ids, ends


def branch_of(prefix: int, parts: Sequence[tuple[Sequence[int], float]]) -> Branch:
    """A branch from (ids, loss weight) parts."""
    ids = [i for part, _ in parts for i in part]
    weights = [w for part, w in parts for _ in part]
    weights[0] = 0.0
    return Branch(prefix, ids, weights)


def collate(episodes: Sequence[Episode], *, pad: int) -> Batch:
    """Pack each episode into a row: context, then its branches. Raises TrainingError when empty."""
    if not episodes:
        raise TrainingError("an empty batch: no episodes were given")
    rows, width = len(episodes), max(len(e) for e in episodes)
    input_ids = torch.full((rows, width), pad, dtype=torch.long)
    position_ids = torch.zeros((rows, width), dtype=torch.long)
    plain = all(len(e.branches) == 1 and e.branches[0].prefix == len(e.context) for e in episodes)
    mask = None
    if not plain:
        mask = torch.eye(width, dtype=torch.bool).expand(rows, 1, width, width).clone()
        causal = torch.ones(width, width, dtype=torch.bool).tril()
    at: list[int] = []
    target: list[int] = []
    weight: list[float] = []
    owner: list[int] = []
    number = 0
    for row, episode in enumerate(episodes):
        start = len(episode.context)
        input_ids[row, :start] = torch.tensor(episode.context)
        position_ids[row, :start] = torch.arange(start)
        if mask is not None:
            mask[row, 0, :start, :start] = causal[:start, :start]
        for branch in episode.branches:
            n = len(branch.ids)
            input_ids[row, start : start + n] = torch.tensor(branch.ids)
            position_ids[row, start : start + n] = torch.arange(branch.prefix, branch.prefix + n)
            if mask is not None:
                mask[row, 0, start : start + n, : branch.prefix] = True
                mask[row, 0, start : start + n, start : start + n] = causal[:n, :n]
            for i in range(1, n):
                if branch.weights[i]:
                    at.append(row * width + start + i - 1)
                    target.append(branch.ids[i])
                    weight.append(branch.weights[i])
                    owner.append(number)
            start += n
            number += 1
    return Batch(
        input_ids, position_ids, mask,
        torch.tensor(at), torch.tensor(target), torch.tensor(weight), torch.tensor(owner),
        number, sum(len(e) for e in episodes),
    )  # fmt: skip
