"""Our losses are TRL's where both compute the same quantity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from fspo_core.training.episodes import Episode, branch_of, collate
from fspo_core.training.objectives import (
    branch_logprobs,
    dpo_loss,
    ipo_loss,
    margins,
    token_logprobs,
)

BETA, WORDS, END = 0.1, 60, 2
PAIRS = [
    {"prompt": "w10 w11 w12 w13", "chosen": " w14 w15 w16", "rejected": " w17 w18 w19 w20 w21"},
    {"prompt": "w30 w31", "chosen": " w32 w33 w34 w35", "rejected": " w36"},
]


def model(seed: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    made = LlamaForCausalLM(config)
    for parameter in made.parameters():
        parameter.data.mul_(2.0)
    return made.eval()


def ids(text: str) -> list[int]:
    return [int(word[1:]) for word in text.split()]


@pytest.mark.filterwarnings("ignore")  # of the peer
@pytest.mark.parametrize(("loss_type", "mean"), [("ipo", True), ("sigmoid", False)])
def test_losses_are_those_of_trl(loss_type: str, mean: bool, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

    vocabulary = {"<unk>": 0, "<pad>": 1, "<end>": END} | {f"w{i}": i for i in range(3, WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", eos_token="<end>"
    )
    policy, reference = model(0), model(1)
    trainer = DPOTrainer(
        model=model(0),
        ref_model=model(1),
        args=DPOConfig(
            output_dir=str(tmp_path), loss_type=[loss_type], beta=BETA, 
            max_length=None, per_device_train_batch_size=2, bf16=False, use_cpu=True,
            gradient_checkpointing=False, report_to=[], disable_dropout=True,
        ),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=tokenizer,
    )  # fmt: skip
    (rows,) = list(trainer.get_train_dataloader())
    theirs = float(trainer.compute_loss(trainer.model, rows))

    episodes = []
    for pair in PAIRS:
        context = ids(pair["prompt"])
        # The context's last token goes with the branch: it predicts the response's first one.
        branches = [
            branch_of(len(context) - 1, [(context[-1:], 0.0), ([*ids(pair[role]), END], 1.0)], role)  # type: ignore[arg-type]
            for role in ("chosen", "rejected")
        ]
        episodes.append(Episode(context[:-1], branches))
    batch = collate(episodes)
    with torch.no_grad():
        sums = [
            branch_logprobs(token_logprobs(m, batch), batch, mean=mean) for m in (policy, reference)
        ]
    h = margins(*sums, batch)
    ours = ipo_loss(h, BETA) if loss_type == "ipo" else dpo_loss(h, BETA)
    assert float(ours.mean()) == pytest.approx(theirs, rel=1e-5)
