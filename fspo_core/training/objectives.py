"""Losses as pure functions, and the log-probabilities they stand on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fspo_core.training.episodes import Batch


def token_logprobs(model: Any, batch: Batch) -> Tensor:
    """log p of every target, shape [T], float32; logits are computed at target positions only."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = inner.model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        attention_mask=batch.mask,
        use_cache=False,
    ).last_hidden_state  # [B, S, d]
    logits = inner.lm_head(hidden.flatten(0, 1)[batch.at]).float()  # [T, V]
    return -functional.cross_entropy(logits, batch.target, reduction="none")


def branch_logprobs(logprobs: Tensor, batch: Batch) -> Tensor:
    """Sum over each branch's targets, shape [branches], in nats."""
    return torch.zeros(batch.branches).index_add(0, batch.branch, logprobs)


def likelihood_loss(logprobs: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean negative log-likelihood; shapes [T] and [T] -> scalar, nats a token."""
    return -(logprobs * weight).sum() / weight.sum()


def ipo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    beta: float,
) -> Tensor:
    """Identity preference optimization on summed log-probabilities; all shapes [pairs] -> scalar.

    h = [log pi(y_w) - log pi_ref(y_w)] - [log pi(y_l) - log pi_ref(y_l)], loss (h - 1/(2 beta))^2
    (Azar et al., 2023, equation 17; FSPO, arXiv 2502.19312).
    """
    h = (policy_chosen - ref_chosen) - (policy_rejected - ref_rejected)
    return ((h - 1.0 / (2.0 * beta)) ** 2).mean()
