"""The local engine: transformers + peft, base and arms loaded once a process.

Requests are batched by arm, and a context that several of them share (one user's labels) is
computed once. Every row draws from a generator of its own, seeded by its request, so that what
shares a batch has no say in what is sampled.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from fspo_core.arms import Arm, get_arm
from fspo_core.errors import FspoError, InvalidSampling
from fspo_core.modeling import fingerprint, load_base, with_adapter
from fspo_core.prompts import FormatName, Prompt, get_format, shots_to_drop
from fspo_core.rewards import ADAPTER, REFERENCE, PersonalReward, trained_beta
from fspo_core.types import (
    Completion,
    FinishReason,
    GenerationFailure,
    GenerationRequest,
    Sampling,
    UserHistory,
)

DESCRIPTION_TOKENS = 64
DESCRIPTION_FRAME = 16  # room for what the format puts around a description
MAX_BATCH = 64
NUCLEUS = 256  # tokens looked at before all of the vocabulary is sorted


class SeededSampling(LogitsProcessor):
    """Temperature, nucleus and one random generator a row, by the Gumbel trick.

    The arg max of scores plus Gumbel noise is a sample of their softmax (Maddison et al., 2014), so
    greedy decoding of what this returns samples each row from its own seed. Scores: [batch, vocab].
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self.sampling = sampling
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - the interface
        if self.sampling.temperature == 0:
            return scores
        logprobs = torch.log_softmax(scores.float() / self.sampling.temperature, dim=-1)
        top, index = logprobs.topk(min(NUCLEUS, logprobs.shape[-1]))
        noisy = torch.full_like(logprobs, -torch.inf)
        wide = top.exp().sum(dim=-1) < self.sampling.top_p
        for row in range(len(top)):
            if wide[row]:  # a flat distribution: the nucleus needs more tokens than were looked at
                kept, at = logprobs[row].sort(descending=True)
            else:
                kept, at = top[row], index[row]
            probability = kept.exp()
            kept = kept.masked_fill(
                probability.cumsum(0) - probability >= self.sampling.top_p, -torch.inf
            )
            noise = torch.empty(len(kept)).exponential_(generator=self.generators[row]).log()
            noisy[row, at] = kept - noise
        return noisy


@dataclass(slots=True)
class _Row:
    """A request on its way: its prompt, then its description and answer."""

    request: GenerationRequest
    arm: Arm
    prompt: Prompt
    description: str | None = None


class LocalEngine:
    """Answers requests with a checkpoint folder's base and adapters.

    Raises CheckpointError when the folder lacks the base; an adapter that is missing fails only the
    requests that need it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        base, self.tokenizer, meta = load_base(path)
        self._models: dict[str | None, Any] = {None: base}
        self._fingerprints: dict[str | None, str] = {}
        self.format = get_format(cast(FormatName, meta.get("format", "paper")), self.tokenizer)
        self._pad: int = self.tokenizer.pad_token_id or 0
        self.context = int(base.config.max_position_embeddings)

    def fingerprint(self, arm: str) -> str:
        """Hash of the weights that answer for ``arm``."""
        adapter = get_arm(arm).adapter
        if adapter not in self._fingerprints:
            self._fingerprints[adapter] = fingerprint(self.path, adapter)
        return self._fingerprints[adapter]

    def model(self, adapter: str | None) -> Any:
        """The base with an adapter merged in; loaded at first use."""
        if adapter not in self._models:
            self._models[adapter] = with_adapter(self.path, adapter)
        return self._models[adapter]

    def generate(
        self, requests: Sequence[GenerationRequest]
    ) -> list[Completion | GenerationFailure]:
        """Answer every request, in order; a request that can't be answered yields a failure."""
        results: dict[int, Completion | GenerationFailure] = {}
        rows: dict[int, _Row] = {}
        drops = self._drops(requests)
        for i, request in enumerate(requests):
            try:
                _check_sampling(request.sampling)
                arm = get_arm(request.arm)
                self.model(arm.adapter)
                rows[i] = _Row(request, arm, self._prompt(request, arm, drops, describe=False))
            except FspoError as error:
                results[i] = GenerationFailure(request.request_id, request.arm, str(error))
        described = {i: row for i, row in rows.items() if row.arm.describes_first}
        for i, failure in self._describe(described, drops).items():
            results[i] = failure
            del rows[i]
        batches: dict[tuple[str | None, Sampling], list[int]] = defaultdict(list)
        for i, row in rows.items():
            batches[row.arm.adapter, row.request.sampling].append(i)
        for (adapter, sampling), indices in batches.items():
            ordered = sorted(indices, key=lambda i: (rows[i].prompt.context, rows[i].prompt.ids))
            for at in range(0, len(ordered), MAX_BATCH):
                part = ordered[at : at + MAX_BATCH]
                results |= zip(
                    part, self._answer(adapter, sampling, [rows[i] for i in part]), strict=True
                )
        return [results[i] for i in range(len(requests))]

    def label_probabilities(self, history: UserHistory) -> list[float]:
        """P(the label that was made), of each label given those before it.

        Raises CheckpointError where the folder lacks the adapters of the personal reward.
        """
        reward = PersonalReward(
            self.model(ADAPTER), self.model(REFERENCE), self.format, trained_beta(self.path)
        )
        return reward.label_probabilities(history)

    # -- prompts -------------------------------------------------------------------------------

    def _drops(self, requests: Sequence[GenerationRequest]) -> dict[str, int]:
        """Oldest shots to leave out, one number a group: what its longest prompt needs."""
        drops: dict[str, int] = defaultdict(int)
        for request in requests:
            try:
                arm = get_arm(request.arm)
                if not arm.reads_labels:
                    continue
                shots = self._shots(request)
                fixed = len(self._cue(request, arm, len(shots), describe=False))
                fixed += len(self.format.opening()) + request.sampling.max_new_tokens
                fixed += (DESCRIPTION_TOKENS + DESCRIPTION_FRAME) * arm.describes_first
                needed = shots_to_drop(
                    [len(shot) for shot in shots], fixed,
                    max_length=self.context, received=f"request {request.request_id}",
                )  # fmt: skip
            except FspoError:
                continue  # reported with the request itself
            drops[request.group] = max(drops[request.group], needed)
        return drops

    def _shots(self, request: GenerationRequest) -> list[list[int]]:
        return [self.format.shot(i, p) for i, p in enumerate(request.history.preferences, 1)]

    def _cue(
        self, request: GenerationRequest, arm: Arm, shots: int, *, describe: bool
    ) -> list[int]:
        if describe:
            return self.format.description_cue(request.question, shots=shots)
        told = request.description if arm.told_description else None
        return self.format.answer_cue(request.question, shots=shots, description=told)

    def _prompt(
        self, request: GenerationRequest, arm: Arm, drops: dict[str, int], *, describe: bool,
        description: str | None = None,
    ) -> Prompt:  # fmt: skip
        dropped = drops[request.group] if arm.reads_labels else 0
        kept = request.history.preferences[dropped:] if arm.reads_labels else ()
        ids = list(self.format.opening())
        for i, preference in enumerate(kept, 1):
            ids += self.format.shot(i, preference)
        context = len(ids)
        if description is not None:
            ids += self.format.answer_cue(
                request.question, shots=len(kept), description=description
            )
        else:
            ids += self._cue(request, arm, len(kept), describe=describe)
        shots_to_drop(
            [], len(ids) + request.sampling.max_new_tokens,
            max_length=self.context, received=f"request {request.request_id}",
        )  # fmt: skip
        return Prompt(tuple(ids), max(1, context), len(kept), dropped)

    # -- decoding ------------------------------------------------------------------------------

    def _describe(
        self, rows: dict[int, _Row], drops: dict[str, int]
    ) -> dict[int, GenerationFailure]:
        """First pass of description-first arms: write the description, greedily.

        Returns the rows whose question leaves no room for a description, with the reason.
        """
        failures: dict[int, GenerationFailure] = {}
        by_adapter: dict[str | None, list[int]] = defaultdict(list)
        for i, row in rows.items():
            by_adapter[row.arm.adapter].append(i)
        greedy = Sampling(temperature=0.0, max_new_tokens=DESCRIPTION_TOKENS)
        for adapter, group in by_adapter.items():
            prompts = [
                self._prompt(rows[i].request, rows[i].arm, drops, describe=True) for i in group
            ]
            for i, (text, _, _) in zip(
                group, self._decode(adapter, greedy, prompts, [0] * len(group)), strict=True
            ):
                row = rows[i]
                row.description = text = self._fitting(text)
                try:
                    row.prompt = self._prompt(
                        row.request, row.arm, drops, describe=False, description=text
                    )
                except FspoError as error:
                    failures[i] = GenerationFailure(
                        row.request.request_id, row.request.arm, str(error)
                    )
        return failures

    def _fitting(self, description: str) -> str:
        """The description without its last words where, encoded anew, it is longer than written."""
        words = description.split(" ")
        while len(self.format.text(" ".join(words))) > DESCRIPTION_TOKENS:
            words.pop()
        return " ".join(words)

    def _answer(
        self, adapter: str | None, sampling: Sampling, rows: list[_Row]
    ) -> list[Completion | GenerationFailure]:
        began = time.perf_counter()
        decoded = self._decode(
            adapter, sampling, [row.prompt for row in rows], [row.request.seed for row in rows]
        )
        seconds = time.perf_counter() - began
        answers: list[Completion | GenerationFailure] = []
        for row, (text, reason, tokens) in zip(rows, decoded, strict=True):
            request = row.request
            if not text:
                answers.append(GenerationFailure(request.request_id, request.arm, "empty answer"))
                continue
            answers.append(
                Completion(
                    request.request_id, request.arm, text, reason,
                    row.prompt.shots_used, row.prompt.shots_dropped, row.prompt.sha256,
                    self.fingerprint(request.arm), len(row.prompt.ids), tokens, seconds,
                    request.seed, replace(sampling), row.description,
                )
            )  # fmt: skip
        return answers

    @torch.inference_mode()
    def _decode(
        self,
        adapter: str | None,
        sampling: Sampling,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
    ) -> list[tuple[str, FinishReason, int]]:
        """(text, why it ended, tokens written) of every prompt.

        Different contexts go through the model once; their keys and values are then copied to the
        rows they belong to. Contexts and questions are each padded on the left.
        """
        model = self.model(adapter)
        contexts = list(dict.fromkeys(prompt.ids[: prompt.context] for prompt in prompts))
        context_ids, context_seen = self._padded(contexts)
        computed = model(
            input_ids=context_ids, attention_mask=context_seen, use_cache=True, logits_to_keep=1,
            position_ids=(context_seen.cumsum(-1) - 1).clamp(min=0),
        ).past_key_values  # fmt: skip
        own = torch.tensor([contexts.index(prompt.ids[: prompt.context]) for prompt in prompts])
        computed.batch_select_indices(own)
        ids, seen = self._padded([prompt.ids[prompt.context :] for prompt in prompts])
        ids = torch.cat([context_ids[own], ids], dim=1)
        seen = torch.cat([context_seen[own], seen], dim=1)
        stops = list(self.format.stop_ids)
        written = model.generate(
            input_ids=ids, attention_mask=seen, past_key_values=computed, do_sample=False,
            max_new_tokens=sampling.max_new_tokens, eos_token_id=stops, pad_token_id=self._pad,
            logits_processor=LogitsProcessorList([SeededSampling(sampling, seeds)]),
        )[:, ids.shape[1] :]  # fmt: skip
        results: list[tuple[str, FinishReason, int]] = []
        for row in written.tolist():
            end = next((i for i, token in enumerate(row) if token in stops), None)
            kept = row if end is None else row[:end]
            text = self.tokenizer.decode(kept, skip_special_tokens=True)
            text = re.sub(r"[ \t]*\n[ \t]*", "\n", text).strip()
            results.append((text, "length" if end is None else "stop", len(kept)))
        return results

    def _padded(self, sequences: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
        """Left-padded ids and their mask, both [len(sequences), longest]."""
        width = max(map(len, sequences))
        ids = torch.full((len(sequences), width), self._pad)
        seen = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, width - len(sequence) :] = torch.tensor(sequence)
            seen[row, width - len(sequence) :] = 1
        return ids, seen


def _check_sampling(sampling: Sampling) -> None:
    if not (
        0 <= sampling.temperature <= 5 and 0 < sampling.top_p <= 1 and sampling.max_new_tokens > 0
    ):
        raise InvalidSampling(
            f"temperature 0 to 5, top_p over 0 to 1, max_new_tokens over 0; received {sampling}"
        )
