"""Base model, tokenizer, adapters: make, load, save, fingerprint.

A checkpoint folder holds ``config.json``, ``model.safetensors``, ``tokenizer.json`` and the base's
``fspo.json`` (prompt format, recipe, training seed), and one folder an adapter under ``adapters/``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from fspo_core.errors import CheckpointError
from fspo_core.prompts import CompactFormat

EMBEDDED = Path(__file__).parent / "checkpoints" / "embedded"
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def train_tokenizer(texts: Iterator[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with the compact format's special tokens, trained on ``texts``."""
    bpe = Tokenizer(models.BPE())
    # A space before the first word too, so that a topic has the same tokens wherever it stands.
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(CompactFormat.SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=CompactFormat.BOS,
        eos_token=CompactFormat.END,
        pad_token=CompactFormat.PAD,
        additional_special_tokens=list(CompactFormat.SPECIAL_TOKENS[3:]),
        clean_up_tokenization_spaces=False,
    )


def new_llama(
    *,
    vocab_size: int,
    hidden: int,
    layers: int,
    heads: int,
    feed_forward: int,
    context: int,
    seed: int,
) -> LlamaForCausalLM:
    """A small Llama with tied embeddings and random weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)


def load_base(path: Path) -> tuple[Any, Any, dict[str, Any]]:
    """Base model (float32, eval mode), tokenizer and ``fspo.json`` of a checkpoint folder.

    Raises CheckpointError, naming the folder, when something is missing.
    """
    if not (path / "config.json").is_file():
        raise CheckpointError(
            f"no checkpoint in {path} (config.json is missing); make one with: make checkpoint"
        )
    meta = json.loads((path / "fspo.json").read_text()) if (path / "fspo.json").is_file() else {}
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(path), meta


def save_base(path: Path, model: Any, tokenizer: Any, meta: dict[str, Any]) -> None:
    """Write base and tokenizer; weights in bfloat16, half the size and what they trained in."""
    path.mkdir(parents=True, exist_ok=True)
    half = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    model.save_pretrained(path, state_dict=half)
    tokenizer.save_pretrained(path)
    (path / "fspo.json").write_text(json.dumps(meta, indent=1) + "\n")


def adapter_path(path: Path, adapter: str) -> Path:
    """Where the adapter of this name lies in a checkpoint folder."""
    return path / "adapters" / adapter


def with_adapter(path: Path, adapter: str | None, *, trainable: bool = False) -> Any:
    """A fresh base model with the adapter on it; merged unless it is to be trained."""
    model, _, _ = load_base(path)
    if adapter is None:
        return model
    folder = adapter_path(path, adapter)
    if not (folder / "adapter_config.json").is_file():
        raise CheckpointError(f"checkpoint {path} has no adapter {adapter!r}")
    peft_model = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    return peft_model if trainable else peft_model.merge_and_unload().eval()


def add_adapter(model: Any, path: Path, adapter: str, *, name: str) -> None:
    """Put another adapter of the folder, frozen and not in use, on a peft model."""
    model.load_adapter(str(adapter_path(path, adapter)), adapter_name=name, is_trainable=False)
    model.set_adapter("default")


def new_adapter(model: Any, *, rank: int, seed: int) -> Any:
    """A LoRA adapter (Hu et al., 2021) on every linear layer of the model."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=LORA_TARGETS, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


def save_adapter(path: Path, adapter: str, model: Any) -> None:
    """Write a peft model's adapter into a checkpoint folder."""
    folder = adapter_path(path, adapter)
    for config in model.peft_config.values():
        config.base_model_name_or_path = ""  # the base lies two folders up, wherever that is
    model.save_pretrained(str(folder), selected_adapters=["default"])
    (folder / "README.md").unlink(missing_ok=True)  # peft writes an empty model card


def _files(path: Path, adapter: str | None) -> Iterator[Path]:
    yield from (path / name for name in ("config.json", "model.safetensors", "tokenizer.json"))
    if adapter is not None:
        yield adapter_path(path, adapter) / "adapter_model.safetensors"


def fingerprint(path: Path, adapter: str | None) -> str:
    """SHA-256 over the bytes of the base's and the adapter's files, first 16 hex digits."""
    digest = hashlib.sha256()
    for file in _files(path, adapter):
        if not file.is_file():
            raise CheckpointError(f"checkpoint file {file} is missing")
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
