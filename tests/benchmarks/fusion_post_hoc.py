"""Do gates that are learnt after training tell a question of motion from one of appearance?

``c3d_small`` answers both about the same clips: which way a digit moves, and which digit it is. Its
twin ``c3d_small_look`` has learnt the look alone. For each question the gates of all layers are
fitted from several seeds, each with clips and noise of its own, with the defaults of ``fit_gates``;
then with a smaller number of samples. Beside the probabilities stands what the loss does when
one unit alone is dropped, which needs no fit.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from captum_video.attr._posterior_fit import fit_gates, gated_copy
from captum_video.nn.gates import forced_gates
from captum_video.nn.strategies import gates_of, most_probable_strategy
from models._tables import interval
from models.data import MovingDigits
from models.info import BundledModel

#: model and question
CASES = (("c3d_small", "motion"), ("c3d_small", "look"), ("c3d_small_look", "look"))
#: other settings than the defaults: samples, price
SETTINGS: tuple[tuple[int | None, float], ...] = ((16, 3.0),)
BATCH = 16
Batches = list[tuple[Tensor, Tensor]]


def drawn(model: BundledModel, question: str, clips: int, seed: int) -> Batches:
    """Batches of clips that the model has not seen, with the answers to a question."""
    data = MovingDigits(clips, seed=1000 + seed, split="validation")
    samples = [data[index] for index in range(clips)]
    inputs = model.info.normalize(torch.stack([sample.clip for sample in samples]))
    truth = torch.tensor([getattr(sample, question) for sample in samples])
    inputs = inputs.contiguous(memory_format=torch.channels_last_3d)  # the fastest layout
    return list(zip(inputs.split(BATCH), truth.split(BATCH), strict=True))


def answers(model: BundledModel, question: str) -> slice:
    """The outputs that answer a question."""
    numbers = model.info.groups[question]
    return slice(numbers[0], numbers[-1] + 1)


def cross_entropy(chosen: slice, outputs: Tensor, target: Tensor) -> Tensor:
    """Of the outputs for one question, for each clip."""
    return F.cross_entropy(outputs[:, chosen], target, reduction="none")


def correct(chosen: slice, outputs: Tensor, target: Tensor) -> Tensor:
    """Whether the answer to one question is right, for each clip."""
    return (outputs[:, chosen].argmax(1) == target).float()


@torch.no_grad()
def scored(
    model: nn.Module,
    kept: Mapping[str, Sequence[bool]],
    batches: Batches,
    score: Callable[[Tensor, Tensor], Tensor],
) -> float:
    """The mean score under a strategy."""
    values = {one: torch.tensor([list(kept[name])]) for name, one in gates_of(model).items()}
    with forced_gates(values):
        return float(torch.cat([score(model(clips), truth) for clips, truth in batches]).mean())


def fitted(name: str, question: str, clips: int, seed: int, **options: Any) -> dict[str, Any]:
    """Fits the gates once: a row of what came out."""
    model = models.load(name).to(memory_format=torch.channels_last_3d)
    batches, chosen = drawn(model, question, clips, seed), answers(model, question)
    gated = gated_copy(model)
    begin = time.perf_counter()
    history = fit_gates(gated, batches, loss=partial(cross_entropy, chosen), seed=seed, **options)
    took = time.perf_counter() - begin
    every = dict.fromkeys(gates_of(gated), (True, True))
    strategy = most_probable_strategy(gated)
    return {
        "model": name,
        "question": question,
        "seed": seed,
        "clips": clips,
        "samples": history.samples,
        "price": history.price,
        "keep": {n: one.keep_probability().tolist() for n, one in gates_of(gated).items()},
        "strategy": str(strategy),
        "open_loss": history.open_loss,
        "strategy_loss": history.strategy_loss,
        "worth": dict(history.worth),
        "changes": history.changes,
        "open_accuracy": scored(gated, every, batches, partial(correct, chosen)),
        "strategy_accuracy": scored(gated, strategy, batches, partial(correct, chosen)),
        "seconds": took,
    }


def shown(values: Sequence[float]) -> str:
    """The mean, with a 95 % interval where there are several."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    found = interval(values)
    return f"{found.mean:.3f} ± {found.half:.3f}"


def table(rows: Sequence[dict[str, Any]]) -> None:
    """Prints keep probabilities by layer and unit, a column for each case."""
    cases = list(dict.fromkeys((r["model"], r["question"], r["samples"], r["price"]) for r in rows))
    print("| layer | unit |" + "".join(f" {m}, {q}, N={n}, c={c:g} |" for m, q, n, c in cases))
    print("|---|---|" + "---|" * len(cases))
    chosen = [
        [r for r in rows if (r["model"], r["question"], r["samples"], r["price"]) == case]
        for case in cases
    ]
    for layer in rows[0]["keep"]:
        for number, unit in enumerate(("S", "ST")):
            cells = [shown([r["keep"][layer][number] for r in some]) for some in chosen]
            print(f"| {layer} | {unit} | " + " | ".join(cells) + " |")
    for key in ("open_accuracy", "strategy_accuracy", "open_loss", "strategy_loss"):
        means = [sum(r[key] for r in some) / len(some) for some in chosen]
        print(f"| {key.replace('_', ' ')} | | " + " | ".join(f"{m:.3f}" for m in means) + " |")


def dropped_alone(cases: Sequence[tuple[str, str]], clips: int, seeds: int) -> None:
    """Prints how the mean loss rises when one unit is dropped and all others are kept."""
    print("\nMean loss with one unit dropped, less that with none dropped, nats for each clip:\n")
    print("| layer | unit |" + "".join(f" {name}, {question} |" for name, question in cases))
    print("|---|---|" + "---|" * len(cases))
    columns: dict[tuple[str, int], list[str]] = {}
    for name, question in cases:
        model = models.load(name).to(memory_format=torch.channels_last_3d)
        gated = gated_copy(model)
        loss = partial(cross_entropy, answers(model, question))
        every = {layer: [True, True] for layer in gates_of(gated)}
        rises: dict[tuple[str, int], list[float]] = {}
        for seed in range(seeds):
            batches = drawn(model, question, clips, seed)
            least = scored(gated, every, batches, loss)
            for layer in every:
                for unit in range(2):
                    kept = {**every, layer: [unit != 0, unit != 1]}
                    rise = scored(gated, kept, batches, loss) - least
                    rises.setdefault((layer, unit), []).append(rise)
        for key, values in rises.items():
            columns.setdefault(key, []).append(shown(values))
    for (layer, unit), cells in columns.items():
        print(f"| {layer} | {('S', 'ST')[unit]} | " + " | ".join(cells) + " |")


def main(
    clips: int = 48,
    seeds: int = 3,
    cases: Sequence[tuple[str, str]] = CASES,
    rows_to: Path | None = None,
) -> None:
    """Prints the tables."""
    threads = f"{torch.get_num_threads()} thread(s)"
    print(f"{clips} clips that were not trained on, for each of {seeds} seeds; {threads}.\n")
    settings: list[tuple[int | None, float, int]] = [(None, 3.0, seed) for seed in range(seeds)]
    settings += [(samples, price, 0) for samples, price in SETTINGS]
    rows = []
    for samples, price, seed in settings:
        for name, question in cases:
            row = fitted(name, question, clips, seed, samples=samples, price=price)
            rows.append(row)
            if rows_to is not None:
                with rows_to.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    own = len(cases) * seeds
    table(rows[:own])
    print("\nAnother number of samples N, one seed:\n")
    for start in range(own, len(rows), len(cases)):
        table(rows[start : start + len(cases)])
        print()
    seconds = [row["seconds"] for row in rows]
    print(f"A fit takes {sum(seconds) / len(seconds):.0f} s.")
    dropped_alone(cases, clips, seeds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=48, help="for each seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", help="of the bundled ones, this alone")
    parser.add_argument("--rows", type=Path, help="a file to append the fits to, as JSON lines")
    given = parser.parse_args()
    asked = [case for case in CASES if given.model in (None, case[0])]
    main(given.clips, given.seeds, asked, given.rows)
