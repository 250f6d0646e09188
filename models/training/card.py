"""What a training run leaves: weights and a card that says where they come from."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from captum_video._core.files import written_whole
from models.info import ModelInfo
from models.training.run import Run


def publish(run: Run, folder: Path, command: str, score: Mapping[str, float]) -> tuple[Path, Path]:
    """Writes ``NAME.safetensors`` and ``NAME.md``, both whole or neither.

    Args:
        run: the finished run.
        folder: where to write.
        command: the command that repeats the run.
        score: what the recipe's task measured on fresh clips.

    Returns:
        The paths of the weights and of the card.
    """
    name = run.info.name
    weights, card = folder / f"{name}.safetensors", folder / f"{name}.md"
    state = {key: value.cpu().contiguous() for key, value in run.model.state_dict().items()}
    metadata = {
        "name": name,
        "command": command,
        "seed": str(run.seed),
        "score": json.dumps(dict(score)),
        "tolerance": str(run.recipe.tolerance),
    }
    with written_whole(weights) as weights_part, written_whole(card) as card_part:
        card_part.write_text(_card(run, command, score), encoding="utf-8")
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
    end = "stopped early" if progress.stopped else "ran to its end"
    apart = "".join(
        f" ({group['what']}: {group['lr_factor']:g} times the learning rate, no decay)"
        for group in run.optimiser.param_groups[1:]
    )
    precision = "mixed precision" if run.amp else "float32"
    notes = [
        f"Seed: {run.seed}. Repeating the command on one machine with the same number of threads "
        "gives the same weights; elsewhere sums round differently, and each score may differ by "
        f"up to {recipe.task.tolerance_note(recipe.tolerance)}.",
        f"Data: {recipe.data_note}",
        f"Recipe: AdamW, {recipe.steps} steps of {recipe.batch_size} clips, learning rate "
        f"{recipe.lr:g} with linear warm-up and cosine decay, weight decay "
        f"{recipe.weight_decay:g}{apart}, {precision}; {recipe.task.loss_note}.",
        f"The run {end} after {progress.step} steps; the weights are those of step "
        f"{progress.best_step}, the best by {recipe.task.merit_note}.",
        f"Time: {progress.seconds / 60:.0f} minutes on {place}, torch {torch.__version__}.",
    ]
    listed = "\n".join(
        textwrap.fill(note, 100, initial_indent="* ", subsequent_indent="  ") for note in notes
    )
    return f"""# {run.info.name}

{count:,} parameters; {_input_note(run.info)}

## Score

{recipe.task.table(run.info, score, recipe.score_clips)}

## How it was made

```
{command}
```

{listed}
"""


def _input_note(info: ModelInfo) -> str:
    """What the model takes."""
    if not info.size:
        return f"sequences of {info.frames} frames, in their own units."
    return f"""clips of {info.frames} frames, {info.size[0]}x{info.size[1]}, in [0, 1], then
normalised with mean {info.mean} and standard deviation {info.std}."""
