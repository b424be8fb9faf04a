"""The implicit personal reward: how well do a user's labels predict the next one?

beta * log(pi / pi_ref) is a reward (Rafailov et al., 2023); with the user's labels in the context
it is that user's reward (FSPO, arXiv 2502.19312). What it says of a label's probability, and
how good that is: ``fspo_core.evaluation.label_prediction``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from fspo_core.errors import CheckpointError
from fspo_core.modeling import adapter_path, load_base, with_adapter
from fspo_core.prompts import FormatName, PromptFormat, get_format
from fspo_core.training.episodes import Batch, Episode, branch_of, collate, context_of
from fspo_core.training.objectives import branch_logprobs, token_logprobs
from fspo_core.types import Preference, UserHistory

ADAPTER, REFERENCE = "fspo", "pref_ft"


def ipo_label_probability(margin: float, beta: float) -> float:
    """P(first response preferred) from the margin h in nats: clip(1/2 + beta h, 0, 1).

    The optimum of IPO's loss has h = (p - 1/2) / beta (Azar et al., 2023, section 5). Raises
    CheckpointError where the margin is not a number.
    """
    if not math.isfinite(margin):
        raise CheckpointError(f"the personal reward is {margin!r}")
    return min(1.0, max(0.0, 0.5 + beta * margin))


class PersonalReward:
    """Margins between two responses for a user, from a policy and its reference.

    ``beta`` is the policy's: IPO drove its margins to 1/(2 beta) nats.
    """

    def __init__(
        self, policy: Any, reference: Any, prompt_format: PromptFormat, beta: float
    ) -> None:
        self.policy, self.reference, self.format, self.beta = policy, reference, prompt_format, beta

    @classmethod
    def load(cls, path: Path) -> PersonalReward:
        """Of a checkpoint folder. Raises CheckpointError."""
        _, tokenizer, meta = load_base(path)
        prompt_format = get_format(cast(FormatName, meta.get("format", "paper")), tokenizer)
        policy, reference = with_adapter(path, ADAPTER), with_adapter(path, REFERENCE)
        return cls(policy, reference, prompt_format, trained_beta(path))

    def margins(self, history: UserHistory, pairs: Sequence[Preference]) -> list[float]:
        """h in nats for each (question, chosen, rejected): over 0 predicts the label as it is."""
        known = len(history.preferences)
        return self._margins(history, [(known, pair) for pair in pairs])

    def label_probabilities(self, history: UserHistory) -> list[float]:
        """P(the label that was made), of each label given those before it, by IPO.

        Of labels that do not fit into the model's context none are predicted.
        """
        longest = int(self.policy.config.max_position_embeddings)
        shots = [self.format.shot(i, p) for i, p in enumerate(history.preferences, 1)]
        length, fitting = len(self.format.opening()), 0
        for shot in shots:  # a pair takes more tokens as a shot than as a question and an answer
            length += len(shot)
            if length > longest:
                break
            fitting += 1
        known = UserHistory(history.user_id, history.preferences[:fitting])
        asked = list(enumerate(known.preferences))
        margins = self._margins(known, asked) if asked else []
        return [ipo_label_probability(margin, self.beta) for margin in margins]

    @torch.inference_mode()
    def _margins(
        self, history: UserHistory, asked: Sequence[tuple[int, Preference]]
    ) -> list[float]:
        """Margins of pairs, each with how many labels are known before it; one context for all."""
        shots = [self.format.shot(i, p) for i, p in enumerate(history.preferences, 1)]
        context, ends = context_of(self.format.opening(), shots)
        episode = Episode(context)
        stop = list(self.format.stop_ids[:1])
        for known, pair in asked:
            ask = self.format.answer_cue(pair.question, shots=known, description=None)
            for response in (pair.chosen, pair.rejected):
                answer = [*self.format.text(response), *stop]
                episode.branches.append(branch_of(ends[known], [(ask, 0.0), (answer, 1.0)]))
        batch = collate([episode])
        reward = _branch_logprobs(self.policy, batch) - _branch_logprobs(self.reference, batch)
        return [float(m) for m in reward[0::2] - reward[1::2]]


def trained_beta(path: Path) -> float:
    """IPO's beta of the folder's FSPO adapter.

    Raises CheckpointError where it does not say, or was not trained by IPO on summed
    log-probabilities: then its margins are no probabilities by ``ipo_label_probability``.
    """
    file = adapter_path(path, ADAPTER) / "fspo.json"
    try:
        recipe = json.loads(file.read_text(encoding="utf-8"))["recipe"]
        beta = float(recipe["beta"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} does not say with which beta it was trained") from error
    objective = recipe.get("objective", "ipo")
    if objective != "ipo" or recipe.get("length_normalized"):
        raise CheckpointError(
            f"{file}: labels are predicted by IPO on summed log-probabilities, not by {objective}"
            f"{' on means' if recipe.get('length_normalized') else ''}"
        )
    return beta


def _branch_logprobs(model: Any, batch: Batch) -> Tensor:
    with _attention_restored(model):
        return branch_logprobs(token_logprobs(model, batch), batch)


@contextmanager
def _attention_restored(model: Any) -> Iterator[None]:
    """The model may be one that also writes answers, which needs its own attention."""
    before = model.config._attn_implementation
    try:
        yield
    finally:
        model.set_attn_implementation(before)
