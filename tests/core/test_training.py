"""Training: packed branches equal plain forwards, losses by hand, runs that resume exactly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fspo_core.errors import CheckpointError, TrainingError
from fspo_core.modeling import load_base, new_llama, train_tokenizer, with_adapter
from fspo_core.synthesis.generate import SynthesisConfig, synthesize
from fspo_core.training.curriculum import Curriculum, Stage
from fspo_core.training.episodes import Episode, branch_of, collate, context_of
from fspo_core.training.finetune import PreferenceEpisodes, TrainConfig, pair_loss, train
from fspo_core.training.loop import LoopConfig, _optimizers, schedule_at
from fspo_core.training.objectives import branch_logprobs, ipo_loss, likelihood_loss, token_logprobs
from fspo_core.training.pretrain import PretrainConfig, corpus, pretrain
from fspo_core.worlds.base import seeded

TINY = {
    "hidden": 32,
    "layers": 2,
    "heads": 2,
    "feed_forward": 48,
    "vocab_size": 600,
    "tokenizer_texts": 200,
    "probe_users": 2,
}


def tiny_model() -> torch.nn.Module:
    model: torch.nn.Module = new_llama(
        vocab_size=600, hidden=32, layers=2, heads=2, feed_forward=48, context=2048, seed=3
    ).eval()
    return model


def tiny_config(out: Path, steps: int = 3) -> PretrainConfig:
    return PretrainConfig(out=out, steps=steps, tokens_per_step=600, **TINY)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained")
    pretrain(tiny_config(out))
    return out / "checkpoint"


def test_packed_branches_have_the_log_probabilities_of_plain_forwards() -> None:
    model, other, rng = tiny_model(), tiny_model(), np.random.default_rng(0)

    def draw(n: int) -> list[int]:
        return [int(i) for i in rng.integers(8, 600, n)]

    shots = [draw(9), draw(14)]
    context, ends = context_of([1], shots)
    branches = [branch_of(ends[k], [(draw(4), 0.0), (draw(6), 1.0)]) for k in (0, 2, 1, 2)]
    short = Episode([1], [branch_of(1, [(draw(3), 0.0), (draw(2), 1.0)])])
    batch = collate([Episode(context, branches), short])
    packed = branch_logprobs(token_logprobs(model, batch), batch)
    for i, branch in enumerate([*branches, *short.branches]):
        prefix = (context if i < 4 else [1])[: branch.prefix]
        ids = torch.tensor([prefix + branch.ids])
        logits = other(input_ids=ids).logits.log_softmax(-1)  # one sequence, plain causal attention
        plain = sum(
            logits[0, len(prefix) + t - 1, branch.ids[t]]
            for t in range(1, len(branch.ids))
            if branch.weights[t]
        )
        torch.testing.assert_close(packed[i], plain, rtol=1e-5, atol=1e-4)


def test_ipo_by_hand() -> None:
    # h = (-10 - -12) - (-20 - -19) = 2 + 1 = 3; beta 0.1 -> target 5; (3 - 5)^2 = 4
    tensors = [torch.tensor([x]) for x in (-10.0, -20.0, -12.0, -19.0)]
    assert ipo_loss(*tensors, beta=0.1).item() == pytest.approx(4.0)
    policy, reference = torch.tensor([-10.0, -20.0]), torch.tensor([-12.0, -19.0])
    loss, metrics = pair_loss(policy, reference, 0.1)
    assert loss.item() == pytest.approx(4.0)
    assert metrics == {"reward_accuracy": 1.0, "margin_nats": pytest.approx(3.0)}


def test_the_likelihood_loss_weights_tokens() -> None:
    # -( -1*1 + -3*0.5 ) / 1.5 = 2.5 / 1.5
    loss = likelihood_loss(torch.tensor([-1.0, -3.0]), torch.tensor([1.0, 0.5]))
    assert loss.item() == pytest.approx(2.5 / 1.5)


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    config = LoopConfig(steps=100, learning_rate=1.0, warmup=0.1, decay=0.5)
    rates = [schedule_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[30] == 1.0
    assert rates[75] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.02)


def test_a_step_of_the_curriculum_is_a_function_of_seed_and_step() -> None:
    tokenizer = train_tokenizer(corpus(100, 1), vocab_size=600)
    first, second = Curriculum(tokenizer, seed=1), Curriculum(tokenizer, seed=1)
    a, b = first.episodes(7, 0.6, 2000), second.episodes(7, 0.6, 2000)
    assert [e.context for e in a[1]] == [e.context for e in b[1]]
    assert a[1][0].context != first.episodes(8, 0.6, 2000)[1][0].context


def test_foreign_words_make_nearly_every_token_one_that_is_copied() -> None:
    tokenizer = train_tokenizer(corpus(300, 1), vocab_size=1500)
    curriculum = Curriculum(tokenizer, seed=1)
    copied: dict[float, set[int]] = {}
    for share in (0.0, 1.0):
        rng, copied[share] = seeded(2), set()
        for _ in range(2000):
            episode = curriculum.zero_shot(rng, Stage(0.5, 1, 0.0, foreign_words=share))
            ids = episode.branches[0].ids
            asked, said = (
                ids[ids.index(curriculum.format.question) :],
                ids[ids.index(curriculum.format.chosen) :],
            )
            # The topic is taken up in the first sentence; what long answers have in common with
            # a question besides is no copy.
            echo = said[: 1 + curriculum._opening(said[1:])]
            copied[share] |= set(asked[: -len(said)]) & set(echo)
    words = {i for t, i in tokenizer.get_vocab().items() if t.strip("Ġ").isalpha()}
    assert len(copied[0.0] & words) < 0.6 * len(words)
    assert len(copied[1.0] & words) > 0.8 * len(words)


def test_muon_trains_the_hidden_matrices_and_adamw_the_rest() -> None:
    model = tiny_model()
    adamw, muon = _optimizers(model, LoopConfig(10, 1e-3, matrix_learning_rate=5e-3))
    held = [{id(p) for g in o.param_groups for p in g["params"]} for o in (adamw, muon)]
    for name, parameter in model.named_parameters():
        hidden = name.endswith("proj.weight")
        assert id(parameter) in held[hidden], name
        assert id(parameter) not in held[not hidden], name
    (everything,) = _optimizers(model, LoopConfig(10, 1e-3))
    assert sum(len(g["params"]) for g in everything.param_groups) == len(list(model.parameters()))


def test_no_loss_falls_on_the_context_or_the_question() -> None:
    tokenizer = train_tokenizer(corpus(100, 1), vocab_size=600)
    curriculum = Curriculum(tokenizer, seed=1)
    episode = curriculum.few_shot(seeded(1), Stage(1.0, 4, 0.0))
    fmt = curriculum.format
    for branch in episode.branches:
        if branch.ids[0] == fmt.question:
            asked = branch.ids.index(fmt.chosen)
            assert not any(branch.weights[: asked + 1])
            assert all(branch.weights[asked + 1 :])


def test_pref_ft_trains_on_chosen_responses_alone_and_ipo_on_pairs(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(corpus(100, 1), vocab_size=600)
    for objective, per_pair in (("sft", 1), ("ipo", 2)):
        config = TrainConfig(tmp_path, tmp_path, objective, "x", shots=3, pairs_per_user=4)  # type: ignore[arg-type]
        episode = PreferenceEpisodes(tokenizer, config)(0)[0]
        assert len(episode.branches) == 4 * per_pair


def test_a_run_that_is_not_personal_shows_no_shots(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(corpus(100, 1), vocab_size=600)
    config = TrainConfig(tmp_path, tmp_path, "ipo", "x", shots=0)
    for episode in PreferenceEpisodes(tokenizer, config)(0):
        assert len(episode.context) == 1
        assert {branch.prefix for branch in episode.branches} == {1}


def test_pref_ft_then_ipo_write_adapters_that_change_the_model(
    checkpoint: Path, tmp_path: Path
) -> None:
    common = {
        "shots": 2,
        "pairs_per_user": 2,
        "tokens_per_step": 600,
        "steps": 2,
        "rank": 2,
        "learning_rate": 0.05,
    }
    train(TrainConfig(checkpoint, tmp_path / "a", "sft", "pref_ft", **common))  # type: ignore[arg-type]
    train(TrainConfig(checkpoint, tmp_path / "b", "ipo", "fspo", start="pref_ft", **common))  # type: ignore[arg-type]
    ids = torch.tensor([[1, 50, 60, 70]])
    base, _, _ = load_base(checkpoint)
    logits = [
        m(input_ids=ids).logits
        for m in (base, with_adapter(checkpoint, "pref_ft"), with_adapter(checkpoint, "fspo"))
    ]
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[1], logits[2])
    rows = [
        json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()
    ]
    assert {"loss", "reward_accuracy", "margin_nats", "tokens_per_second"} <= set(rows[0])
    assert (tmp_path / "b" / "loss.png").stat().st_size > 5000
    for config in checkpoint.rglob("*.json"):
        assert str(checkpoint.parent) not in config.read_text(), f"{config} names a folder"
    with pytest.raises(CheckpointError, match="no adapter 'nobody'"):
        with_adapter(checkpoint, "nobody")


def test_ipo_refuses_a_beta_that_is_not_positive(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="got -1"):
        train(TrainConfig(checkpoint, tmp_path, "ipo", "x", beta=-1.0))


def test_a_folder_of_another_configuration_is_not_resumed(tmp_path: Path) -> None:
    pretrain(tiny_config(tmp_path, steps=1))
    with pytest.raises(TrainingError, match="another configuration"):
        pretrain(tiny_config(tmp_path, steps=2))


def test_a_run_killed_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, torch; torch.set_num_threads(1)\n"
        "from fspo_core.training.pretrain import PretrainConfig, pretrain\n"
        "pretrain(PretrainConfig(out=pathlib.Path(sys.argv[1]), steps=12, tokens_per_step=600, "
        f"checkpoint_every=2, **{TINY!r}))\n"
    )

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", code, str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)

    assert start("whole").wait() == 0
    process = start("killed")
    state = tmp_path / "killed" / "state.pt"
    while not state.is_file():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    rows = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    assert len(rows) < 12, "killed too late to show anything"
    assert start("killed").wait() == 0

    def losses(name: str) -> list[float]:
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    assert losses("killed") == losses("whole")
    weights = [
        (tmp_path / n / "checkpoint" / "model.safetensors").read_bytes()
        for n in ("whole", "killed")
    ]
    assert weights[0] == weights[1]


def test_training_takes_pairs_from_files_and_refuses_users_with_too_few(tmp_path: Path) -> None:
    synthesize(SynthesisConfig(tmp_path / "set", ("reviews",), 1, 0.001, 1))
    tokenizer = train_tokenizer(corpus(100, 1), vocab_size=600)
    config = TrainConfig(
        tmp_path, tmp_path, "ipo", "x", shots=3, pairs_per_user=4, data=str(tmp_path / "set")
    )
    draw = PreferenceEpisodes(tokenizer, config)
    assert {h.user_id.split("-")[0] for h in draw.histories} == {"reviews"}
    assert [len(e.branches) for e in draw(0)] == [8] * len(draw(0))
    with pytest.raises(TrainingError, match="has 1000 pairs"):
        PreferenceEpisodes(tokenizer, replace(config, shots=996))
