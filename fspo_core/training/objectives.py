"""Losses as pure functions, and the log-probabilities they stand on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fspo_core.training.attention import NAME
from fspo_core.training.episodes import Batch


def token_logprobs(model: Any, batch: Batch) -> Tensor:
    """log p of every target, shape [T], at least float32; logits at target positions only.

    The model is switched to the attention that shares contexts, and stays with it.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if inner.config._attn_implementation != NAME:
        inner.set_attn_implementation(NAME)
    hidden = inner.base_model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        use_cache=False,
        layout=batch.layout,
    ).last_hidden_state  # [1, S, d]
    logits = inner.get_output_embeddings()(hidden[0, batch.at])  # [T, V]
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
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


def checkpoint_activations(model: Any) -> None:
    """Recompute each layer in the backward pass instead of keeping its activations.

    For a frozen base with an adapter, too: its first layer's input then needs a gradient.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    # Its name before transformers 5.20.
    old = inner.gradient_checkpointing_enable
    getattr(inner, "activation_checkpointing_enable", old)({"use_reentrant": False})
    if inner is not model:
        inner.enable_input_require_grads()
