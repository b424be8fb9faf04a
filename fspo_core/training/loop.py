"""The loop every objective shares: steps, schedule, checkpoints that resume, metrics, a plot.

A run is a pure function of its configuration: the data of a step come from (seed, step), so a run
killed and resumed takes the same steps as one left alone. Started by ``torchrun`` the processes
share the micro-batches of every step, and take the steps that one would take.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from fspo_core.errors import TrainingError
from fspo_core.training.episodes import Batch

Metrics = dict[str, float]
MicroBatches = Callable[[int, float], Sequence[Batch]]
LossOf = Callable[[Any, Batch], tuple[Tensor, Metrics]]
Evaluate = Callable[[Any], Metrics]
CountOf = Callable[[Batch], float]
TRIM_EVERY = 50  # steps


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How long and how fast. ``warmup`` and ``decay`` are fractions of the steps.

    With ``matrix_learning_rate``, hidden weight matrices are trained by Muon (Jordan et al., 2024)
    at that rate, everything else by AdamW at ``learning_rate``; without, all by AdamW.
    """

    steps: int
    learning_rate: float
    matrix_learning_rate: float | None = None
    warmup: float = 0.03
    decay: float = 0.34
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 1
    checkpoint_every: int = 100
    evaluate_every: int = 200
    tensorboard: bool = False


def schedule_at(step: int, config: LoopConfig) -> float:
    """Share of the learning rate: linear warm-up, 1, linear decay to 0 over the last ``decay``."""
    warm = max(1, round(config.steps * config.warmup))
    decay_from = config.steps * (1 - config.decay)
    scale = min(1.0, (step + 1) / warm)
    if step >= decay_from:
        scale *= max(0.0, (config.steps - step) / max(1.0, config.steps - decay_from))
    return scale


Optimizers = list[torch.optim.Optimizer]


def _optimizers(model: Any, config: LoopConfig) -> Optimizers:
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    hidden = {
        name: p
        for name, p in params.items()
        if config.matrix_learning_rate and p.ndim == 2 and "embed" not in name
    }
    rest = [p for name, p in params.items() if name not in hidden]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    made: Optimizers = [
        torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=True)
    ]
    if hidden:
        made.append(
            torch.optim.Muon(
                hidden.values(),
                lr=config.matrix_learning_rate or 0.0,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    for optimizer in made:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return made


def _save(path: Path, model: Any, optimizers: Optimizers, step: int, config: LoopConfig) -> None:
    state = {
        "step": step,
        "config": asdict(config),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "model": {k: p.detach() for k, p in model.named_parameters() if p.requires_grad},
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)  # a kill leaves the old checkpoint or the new one, never half of one


def _resume(path: Path, model: Any, optimizers: Optimizers, config: LoopConfig) -> int:
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    if state["config"] != asdict(config):
        raise TrainingError(
            f"{path} belongs to another configuration ({state['config']}); use another --out folder"
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(state["model"][name])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def run(
    model: Any,
    config: LoopConfig,
    out: Path,
    *,
    micro_batches: MicroBatches,
    loss_of: LossOf,
    count_of: CountOf,
    evaluate: Evaluate | None = None,
    title: str = "training",
) -> None:
    """Train ``model`` in place. Raises TrainingError at a loss that is not finite.

    ``loss_of`` gives a micro-batch's mean loss, ``count_of`` how many things it is the mean of, so
    that a step's gradient is the mean over all of them, however they were packed.
    """
    keep_freed_memory()
    processes = together()
    first = processes.is_main_process
    out.mkdir(parents=True, exist_ok=True)
    model.to(processes.device)
    optimizers = _optimizers(model, config)
    state_file, metrics_file = out / "state.pt", out / "metrics.jsonl"
    start = _resume(state_file, model, optimizers, config)
    if first:
        _truncate(metrics_file, start)
    board = _tensorboard(out) if config.tensorboard and first else None
    bar = Progress(
        TextColumn(title), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TextColumn("{task.fields[speed]:.0f} tok/s"), TimeRemainingColumn(), disable=not first,
    )  # fmt: skip
    with bar, metrics_file.open("a", encoding="utf-8") as log:
        task = bar.add_task(title, total=config.steps, completed=start, loss=math.nan, speed=0.0)
        for step in range(start, config.steps):
            began = time.perf_counter()
            model.train()
            row, tokens = _step(
                model, optimizers, step, config, micro_batches, loss_of, count_of, processes
            )
            if (step + 1) % TRIM_EVERY == 0:
                return_freed_memory()
            seconds = time.perf_counter() - began
            row |= {
                "step": step, "tokens": tokens, "tokens_per_second": tokens / seconds,
                "processes": processes.num_processes,
            }  # fmt: skip
            last = step + 1 == config.steps
            if evaluate and ((step + 1) % config.evaluate_every == 0 or last):
                model.eval()
                with torch.no_grad():
                    row |= evaluate(model)
            bar.update(task, advance=1, loss=row["loss"], speed=row["tokens_per_second"])
            if not first:
                continue
            log.write(json.dumps(row) + "\n")
            log.flush()
            if board:
                for key, value in row.items():
                    board.add_scalar(key, value, step)
            if (step + 1) % config.checkpoint_every == 0 or last:
                _save(state_file, model, optimizers, step + 1, config)
    if board:
        board.close()
    once(lambda: plot(metrics_file, out / "loss.png"))


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError(
            "tensorboard = true needs the package tensorboard: pip install tensorboard"
        ) from None
    return SummaryWriter(str(out / "tensorboard"))


def _step(
    model: Any,
    optimizers: Optimizers,
    step: int,
    config: LoopConfig,
    micro_batches: MicroBatches,
    loss_of: LossOf,
    count_of: CountOf,
    processes: PartialState,
) -> tuple[Metrics, int]:
    scale = schedule_at(step, config)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = scale * group["peak"]
        optimizer.zero_grad(set_to_none=True)
    batches = micro_batches(step, step / config.steps)
    counts = [count_of(batch) for batch in batches]
    totals: Metrics = {"loss": 0.0}
    mine = slice(processes.process_index, None, processes.num_processes)
    for batch, count in zip(batches[mine], counts[mine], strict=True):
        share = count / sum(counts)
        loss, metrics = loss_of(model, batch.to(processes.device))
        if not torch.isfinite(loss):
            raise TrainingError(
                f"loss is {loss.item()} at step {step}; the last checkpoint is kept"
            )
        (loss * share).backward()  # type: ignore[no-untyped-call]
        for key, value in {"loss": loss.item(), **metrics}.items():
            totals[key] = totals.get(key, 0.0) + value * share
    trained = [p for p in model.parameters() if p.requires_grad]
    if processes.num_processes > 1:
        totals = _sum_over_processes(trained, totals)
    totals["learning_rate"] = scale * config.learning_rate
    totals["gradient_norm"] = float(torch.nn.utils.clip_grad_norm_(trained, config.clip))
    for optimizer in optimizers:
        optimizer.step()
    return totals, sum(batch.tokens for batch in batches)


def _sum_over_processes(trained: Sequence[Tensor], totals: Metrics) -> Metrics:
    """Gradients and metrics of the whole step: each process has its micro-batches' share."""
    grads: list[Tensor] = []
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        grads.append(parameter.grad)
    message = torch.cat([grad.flatten() for grad in grads])  # one message, not one a parameter
    torch.distributed.all_reduce(message)
    sums = torch.split(message, [grad.numel() for grad in grads])
    for grad, total in zip(grads, sums, strict=True):
        grad.copy_(total.view_as(grad))
    parts: list[Metrics] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, totals)
    return {key: sum(part.get(key, 0.0) for part in parts) for part in parts for key in part}


def together() -> PartialState:
    """The processes that train together; on the CPU where there is no CUDA."""
    return PartialState(cpu=not torch.cuda.is_available())


def once(write: Callable[[], object]) -> None:
    """Every process calls this: the first one writes, the others wait until it has."""
    processes = together()
    if processes.is_main_process:
        write()
    processes.wait_for_everyone()


def return_freed_memory() -> None:
    """Give the system back what lies free between blocks in use, which else grows by gigabytes."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)


def keep_freed_memory() -> None:
    """Tell glibc to keep large blocks it frees: a third of a step went into page faults without."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def _truncate(metrics_file: Path, steps: int) -> None:
    """Drop rows past the checkpoint a run resumes from, so that no step is told twice."""
    if metrics_file.is_file():
        rows = metrics_file.read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if row.endswith("}") and json.loads(row)["step"] < steps]
        metrics_file.write_text("".join(row + "\n" for row in kept), encoding="utf-8")


def plot(metrics_file: Path, image: Path) -> None:
    """Loss over steps, and every evaluated figure, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = [json.loads(line) for line in metrics_file.read_text(encoding="utf-8").splitlines()]
    evaluated = sorted({k for row in rows for k in row if k.startswith("eval/")})
    figure, axes = plt.subplots(1, 2 if evaluated else 1, figsize=(11, 4), squeeze=False)
    axes[0, 0].plot([r["step"] for r in rows], [r["loss"] for r in rows], linewidth=0.8)
    axes[0, 0].set(xlabel="step", ylabel="loss (nats a token)")
    for key in evaluated:
        points = [(r["step"], r[key]) for r in rows if key in r]
        axes[0, 1].plot(*zip(*points, strict=True), label=key.removeprefix("eval/"), marker=".")
    if evaluated:
        axes[0, 1].legend(fontsize=7)
        axes[0, 1].set(xlabel="step")
    figure.tight_layout()
    figure.savefig(image, dpi=110)
    plt.close(figure)
