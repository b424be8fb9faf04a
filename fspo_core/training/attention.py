"""Attention over a packed row in which branches share their user's context.

A row holds contexts and branches one after the other, without padding. A branch's queries attend to
a prefix of their context and, causally, to the branch itself. Both parts are computed apart by the
fused kernel and merged by their log-sum-exp; the backward pass hands the merged output and
log-sum-exp to the kernel's own backward, part by part, which is exact (Dao, 2023,
"FlashAttention-2"; Liu et al., 2023, "Ring Attention", section 3, use the same identity). No mask
is ever made on the CPU. On CUDA the same layout becomes a FlexAttention block mask.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.models.llama.modeling_llama import repeat_kv

from fspo_core.errors import TrainingError

NAME = "fspo_shared_context"  # in the registry of attention functions of transformers
LONG = 512  # tokens; measured with bfloat16 on a CPU with AMX
_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(slots=True)
class Layout:
    """Where sequences lie in a packed row; spans are half open.

    ``causal``: spans of positions that see themselves causally. ``shared``: (start, stop, first,
    last) where the positions start..stop also see all of first..last, the prefix of a context.
    """

    causal: list[tuple[int, int]] = field(default_factory=list)
    shared: list[tuple[int, int, int, int]] = field(default_factory=list)
    longest: int = 0  # tokens that a position sees at most
    _block_mask: Any = None

    def block_mask(self, device: torch.device) -> Any:
        """The layout for FlexAttention, made once."""
        if self._block_mask is None:
            self._block_mask = _block_mask(self, device)
        return self._block_mask


class _SharedContext(torch.autograd.Function):
    """softmax(Q K^T * scale) V under a layout; [1, H, S, D] each."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: Layout, scale: float) -> Tensor:
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        lse = torch.empty(q.shape[:3], dtype=torch.float32 if q.dtype != torch.float64 else q.dtype)
        for a, b in layout.causal:
            own = slice(a, b)
            out[:, :, own], lse[:, :, own] = _forward(
                q[:, :, own], k[:, :, own], v[:, :, own], 0.0, True, scale=scale
            )
        for a, b, first, last in layout.shared:
            own, seen = slice(a, b), slice(first, last)
            more, more_lse = _forward(
                q[:, :, own], k[:, :, seen], v[:, :, seen], 0.0, False, scale=scale
            )
            both = torch.logaddexp(lse[:, :, own], more_lse)
            share = (more_lse - both).exp().unsqueeze(-1)  # of the weight that the prefix has
            out[:, :, own] = torch.lerp(out[:, :, own], more, share.to(more.dtype))
            lse[:, :, own] = both
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.layout, ctx.scale = layout, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        kind = grad.dtype
        *saved, lse = ctx.saved_tensors
        exact = (grad, *saved)
        if kind is torch.bfloat16:
            exact = tuple(t.float() for t in exact)
        made = [torch.zeros_like(t, memory_format=torch.contiguous_format) for t in exact[1:4]]
        parts = [(a, b, a, b, True) for a, b in ctx.layout.causal]
        parts += [(*span, False) for span in ctx.layout.shared]
        for a, b, first, last, causal in parts:
            own, seen = slice(a, b), slice(first, last)
            # The kernel's backward is up to 7 times as fast in float32, but for long causal spans.
            long = causal and b - a > LONG
            do, q, k, v, out = (grad, *saved) if long else exact
            grads = _backward(
                do[:, :, own], q[:, :, own], k[:, :, seen], v[:, :, seen], out[:, :, own],
                lse[:, :, own], 0.0, causal, scale=ctx.scale,
            )  # fmt: skip
            for total, part, where in zip(made, grads, (own, seen, seen), strict=True):
                total[:, :, where] += part
        dq, dk, dv = (t.to(kind) for t in made)
        return dq, dk, dv, None, None


def shared_context_attention(
    module: Any,  # noqa: ARG001 - transformers hands it over
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - the layout says who sees whom
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: [1, heads, S, D] -> [1, S, heads, D]. Raises TrainingError."""
    if layout is None:
        raise TrainingError("this model is set up for packed rows, and was called without a layout")
    if dropout or softcap:
        raise TrainingError(
            f"attention with dropout ({dropout}) or capped logits ({softcap}) can't share contexts"
        )
    if sliding_window and layout.longest > sliding_window:
        raise TrainingError(
            f"a context and its branch have {layout.longest} tokens, more than the model's sliding "
            f"window of {sliding_window}"
        )
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    device = query.device.type
    if torch.is_autocast_enabled(device):  # rotary embeddings leave queries and keys in float32
        lower = torch.get_autocast_dtype(device)
        query, key, value = query.to(lower), key.to(lower), value.to(lower)
    if device == "cuda":
        out = _flex()(
            query, key, value, block_mask=layout.block_mask(query.device), scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )  # fmt: skip
    else:
        groups = query.shape[1] // key.shape[1]
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
        out = _SharedContext.apply(query, key, value, layout, scale)  # type: ignore[no-untyped-call]
    return out.transpose(1, 2), None


AttentionInterface.register(NAME, shared_context_attention)


@cache
def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def _block_mask(layout: Layout, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    width = max(b for _, b in layout.causal)
    own = torch.zeros(width, dtype=torch.int32, device=device)  # first position of one's own span
    first, last = torch.zeros_like(own), torch.zeros_like(own)
    for a, b in layout.causal:
        own[a:b] = a
    for a, b, c, d in layout.shared:
        first[a:b], last[a:b] = c, d

    def sees(_b: Tensor, _h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return ((k <= q) & (k >= own[q])) | ((k >= first[q]) & (k < last[q]))

    return create_block_mask(sees, None, None, width, width, device=device)


def packed(lengths: Iterable[tuple[int, list[tuple[int, int]]]]) -> Layout:
    """The layout of rows of (context length, [(prefix, branch length)] in the order they lie in).

    Branches of one prefix that lie side by side are attended to by one call.
    """
    layout, at = Layout(), 0
    for context, branches in lengths:
        start = at
        at += context
        if len(branches) == 1 and branches[0][0] == context:  # nothing is shared: one sequence
            at += branches[0][1]
            layout.causal.append((start, at))
            layout.longest = max(layout.longest, at - start)
            continue
        if context:
            layout.causal.append((start, at))
        for prefix, length in branches:
            layout.causal.append((at, at + length))
            layout.longest = max(layout.longest, prefix + length)
            before = layout.shared[-1] if layout.shared else None
            if before and before[1] == at and before[2:] == (start, start + prefix):
                layout.shared[-1] = (before[0], at + length, start, start + prefix)
            elif prefix:
                layout.shared.append((at, at + length, start, start + prefix))
            at += length
    return layout
