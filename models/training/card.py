"""What a training run leaves: weights, a card that says where they come from, log and curve."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors.torch import save_file

from captum_video._core.files import written_whole
from models.info import ModelInfo
from models.registry import description
from models.training.curve import draw_curve
from models.training.log import as_text
from models.training.recipes import Recipe
from models.training.run import Run

#: why a run that did not reach its last step stopped
_STOPPING = {"patience": "", "decline": ", as the score fell and the validation loss rose,"}


def publish(run: Run, folder: Path, command: str, score: Mapping[str, float]) -> tuple[Path, Path]:
    """Writes ``NAME.safetensors``, ``NAME.md``, ``NAME.log.jsonl`` and ``NAME.curve.png``.

    All four appear whole, or none does.

    Args:
        run: the finished run.
        folder: where to write.
        command: the command that repeats the run.
        score: what the recipe's task measured on the clips of the card.

    Returns:
        The paths of the weights and of the card.
    """
    name = run.info.name
    weights, card, log, curve = (
        folder / f"{name}{end}" for end in (".safetensors", ".md", ".log.jsonl", ".curve.png")
    )
    state = {key: value.cpu().contiguous() for key, value in run.model.state_dict().items()}
    metadata = {
        "name": name,
        "command": command,
        "seed": str(run.seed),
        "score": json.dumps(dict(score)),
        "tolerance": str(run.recipe.tolerance),
        "built": description(run.model, run.options),
    }
    lines = run.log.lines()
    with ExitStack() as stack:
        weights_part, card_part, log_part, curve_part = (
            stack.enter_context(written_whole(path)) for path in (weights, card, log, curve)
        )
        card_part.write_text(_card(run, command, score), encoding="utf-8")
        log_part.write_text(as_text(lines), encoding="utf-8")
        draw_curve(
            lines,
            curve_part,
            title=name,
            best_step=run.progress.best_step or None,
            unit=run.recipe.task.score_unit,
        )
        save_file(state, weights_part, metadata=metadata)
        # safetensors writes for the owner alone
        weights_part.chmod(card_part.stat().st_mode)
    return weights, card


def _card(run: Run, command: str, score: Mapping[str, float]) -> str:
    """The card's text, in Markdown."""
    recipe, progress = run.recipe, run.progress
    count = sum(parameter.numel() for parameter in run.model.parameters())
    place = run.device.type
    if place == "cpu":
        place += f" with {torch.get_num_threads()} thread(s)"
    end = "ran to its end"
    if progress.stopped:
        end = "stopped early" + _STOPPING[recipe.stopping]
    precision = "mixed precision" if run.amp else "float32"
    notes = [
        f"Seed: {run.seed}. Repeating the command on one machine with the same number of threads "
        "gives the same weights; elsewhere sums round differently, and each score may differ by "
        f"up to {recipe.task.tolerance_note(recipe.tolerance)}.",
        f"Data: {recipe.data_note}",
        f"Recipe: {_optimizer(recipe)}, {recipe.steps} steps of {recipe.batch_size} clips"
        f"{_epochs(recipe)}, learning rate {recipe.lr:g} with {_schedule(recipe)}, weight decay "
        f"{recipe.weight_decay:g}{_apart(run)}, {precision}; {recipe.task.loss_note}.",
        f"The run {end} after {progress.step} steps; the weights are those of step "
        f"{progress.best_step}, the best by {recipe.task.merit_note}.",
        f"Log: `{run.info.name}.log.jsonl`, drawn in `{run.info.name}.curve.png`.",
        f"Time: {progress.seconds / 60:.0f} minutes on {place}, torch {torch.__version__}.",
    ]
    listed = "\n".join(
        textwrap.fill(note, 100, initial_indent="* ", subsequent_indent="  ") for note in notes
    )
    return f"""# {run.info.name}

{count:,} parameters; {_input_note(run.info)}

## Score

{recipe.task.table(run.info, score, seen_clips(recipe))}

## How it was made

```
{command}
```

{listed}
"""


def seen_clips(recipe: Recipe) -> str:
    """The clips behind the score on the card.

    Args:
        recipe: the recipe.

    Returns:
        Their number and split, in words.
    """
    which = "clips" if recipe.epoch else "fresh clips"
    return f"{recipe.score_clips} {which} of the {recipe.score_split} split"


def _optimizer(recipe: Recipe) -> str:
    """The optimiser's name, with its momentum if it has one."""
    if recipe.optimizer == "sgd":
        return f"SGD with momentum {recipe.momentum:g}" if recipe.momentum else "SGD"
    return {"adamw": "AdamW", "adam": "Adam"}[recipe.optimizer]


def _epochs(recipe: Recipe) -> str:
    """How often the clips of finite data are seen, in brackets."""
    if not recipe.epoch:
        return ""
    count = recipe.steps * recipe.batch_size / recipe.epoch
    return f" ({count:.3g} epochs of {recipe.epoch:,} clips)"


def _schedule(recipe: Recipe) -> str:
    """How the learning rate changes."""
    decay = {
        "cosine": "cosine decay",
        "constant": "no decay",
        "step": f"decay by a factor of {recipe.decay:g} every {recipe.decay_every} steps",
        "plateau": f"decay by a factor of {recipe.decay:g} after {recipe.plateau} validations "
        "without a lower loss",
    }[recipe.schedule]
    return f"linear warm-up and {decay}" if recipe.warmup else decay


def _apart(run: Run) -> str:
    """What is trained in another way than the other weights, and what is not."""
    notes = [
        f" ({group['what']}: {group['lr_factor']:g} times the learning rate"
        f"{'' if group['weight_decay'] else ', no decay'})"
        for group in run.optimiser.param_groups
        if group["what"] != "weights"
    ]
    if run.recipe.freeze:
        notes.append(f", frozen: {', '.join(f'`{name}`' for name in run.recipe.freeze)}")
    return "".join(notes)


def _input_note(info: ModelInfo) -> str:
    """What the model takes."""
    if not info.size:
        return f"sequences of {info.frames} frames, in their own units."
    return f"""clips of {info.frames} frames, {info.size[0]}x{info.size[1]}, in [0, 1], then
normalised with mean {info.mean} and standard deviation {info.std}."""
