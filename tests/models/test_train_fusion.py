"""Gates in a recipe: their divergence in the loss, their own learning rate, and their strategy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import default_collate

from captum_video.nn import FusionGates, fusion_regularizer, gated_modules
from captum_video.nn.gates import forced_gates
from models import BundledModel, build, train
from models.data import LookOrMotion
from models.registry import WEIGHTS
from models.training import command, loop, recipes
from models.training.fusion import FusionClassification
from models.training.loading import training_batches
from models.training.recipes import Recipe
from models.training.run import Run

NAME = "fusion_net_small"
CPU = torch.device("cpu")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    """Four steps of two clips, in an empty folder."""
    recipe = replace(
        recipes.RECIPES[NAME], steps=4, batch_size=2, eval_every=2, eval_clips=3, score_clips=3
    )
    monkeypatch.setitem(recipes.RECIPES, NAME, recipe)
    monkeypatch.chdir(tmp_path)
    return recipe


def run(*arguments: str) -> int:
    return train.main([NAME, "--workers", "0", "--quiet", "--device", "cpu", *arguments])


def gates_of(model: BundledModel) -> list[FusionGates]:
    return [module.gates for module in gated_modules(model).values() if module.gates is not None]


def batch(count: int = 4) -> Any:
    data = LookOrMotion(count, seed=3)
    return default_collate([data[index] for index in range(count)])


def test_the_loss_is_cross_entropy_and_the_divergence_for_each_clip() -> None:
    torch.manual_seed(0)
    model, clips = build(NAME), batch()
    task = FusionClassification(length_scale=2.0).prepared(
        model.info, lambda: LookOrMotion(70, seed=3)
    )
    with forced_gates({gates: torch.ones(1, 2) for gates in gates_of(model)}):
        found = task.loss(model, clips.clip, clips)
        scores = model(clips.clip)
    plain = F.cross_entropy(scores[:, :8], clips.motion) + F.cross_entropy(
        scores[:, 8:], clips.look
    )
    torch.testing.assert_close(found, plain + fusion_regularizer(model, 70, length_scale=2.0))
    # by hand: p = 1/2, so 12 gates have an entropy of log 2 each
    squares = [
        module.get_parameter(f"{path}.weight").square().sum()
        for module in gated_modules(model).values()
        for path in ("s", "st")
    ]
    by_hand = (0.5 * 2.0**2 / 2 * torch.stack(squares).sum() - 12 * torch.tensor(2.0).log()) / 70
    torch.testing.assert_close(found - plain, by_hand, rtol=1e-4, atol=1e-6)


def test_a_loss_before_the_clips_are_counted() -> None:
    clips = batch(2)
    with pytest.raises(RuntimeError, match=r"call prepared\(\) first"):
        FusionClassification().loss(build(NAME), clips.clip, clips)


def test_a_task_that_is_prepared_is_another_one() -> None:
    task = FusionClassification()
    info = build(NAME).info
    few, many = (task.prepared(info, lambda n=n: LookOrMotion(n)) for n in (5, 50))  # type: ignore[misc]
    model, clips = build(NAME), batch(2)
    added = []
    for one in (few, many, FusionClassification(length_scale=0.0)):
        one = one.prepared(info, lambda: LookOrMotion(5)) if one.length_scale == 0 else one
        torch.manual_seed(1)
        added.append(float(one.loss(model, clips.clip, clips).detach()))
    assert len(set(added)) == 3
    with pytest.raises(RuntimeError, match="not counted"):
        task.loss(model, clips.clip, clips)


def test_class_weights_and_length_scale_go_together() -> None:
    model, clips = build(NAME, question="motion"), batch()
    weights = {"motion": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]}
    task = FusionClassification(length_scale=2.0).weighted(weights)
    assert isinstance(task, FusionClassification)
    assert task.settings() == {"class_weights": weights, "length_scale": 2.0}
    ready = task.prepared(model.info, lambda: LookOrMotion(40))
    assert "k = 2" in ready.loss_note
    assert "classes weighted (motion 1, 2, 3" in ready.loss_note
    with forced_gates({gates: torch.ones(1, 2) for gates in gates_of(model)}):
        found = ready.loss(model, clips.clip, clips)
        plain = F.cross_entropy(
            model(clips.clip), clips.motion, weight=torch.tensor(weights["motion"])
        )
    torch.testing.assert_close(found, plain + fusion_regularizer(model, 40, length_scale=2.0))


def test_scores_are_those_of_the_most_probable_strategy(tmp_path: Path, tiny: Recipe) -> None:
    torch.manual_seed(2)
    model = build(NAME)
    run = Run(model, tiny, 0, CPU, tmp_path / "c.pt", workers=0)
    for index, gates in enumerate(gates_of(model)):
        gates.set_drop_probability([0.4, 0.6] if index % 2 else [0.6, 0.4])
    loop.evaluate(run, 0, 3)
    strategies = [gates.strategy.tolist() for gates in gates_of(model)]
    assert strategies == [[False, True], [True, False]] * 3


def test_gates_have_their_own_learning_rate_and_no_decay(tmp_path: Path, tiny: Recipe) -> None:
    recipe = replace(tiny, gate_lr=3.0, weight_decay=0.1, lr=1e-2)
    run = Run(build(NAME), recipe, 0, CPU, tmp_path / "c.pt", workers=0)
    weights, gates = run.optimiser.param_groups
    assert {id(p) for p in gates["params"]} == {id(g.drop_logit) for g in gates_of(run.model)}
    assert len(weights["params"]) + len(gates["params"]) == len(list(run.model.parameters()))
    assert (weights["weight_decay"], gates["weight_decay"]) == (0.1, 0.0)
    before = [gate.drop_logit.detach().clone() for gate in gates_of(run.model)]
    loop._train_step(run, loop._objective(run), next(training_batches(run)))
    assert (weights["lr"], gates["lr"]) == (1e-2, pytest.approx(3e-2))
    # Adam's first step has the size of the learning rate
    for old, gate in zip(before, gates_of(run.model), strict=True):
        step = (gate.drop_logit.detach() - old).abs()
        assert 0.02 < float(step.max()) < 0.0301


def test_twins_have_no_group_and_no_divergence(tmp_path: Path, tiny: Recipe) -> None:
    run = Run(build(NAME, conv="st"), tiny, 0, CPU, tmp_path / "c.pt", workers=0)
    assert len(run.optimiser.param_groups) == 1
    clips = batch()
    scores = run.model(clips.clip)
    plain = F.cross_entropy(scores[:, :8], clips.motion) + F.cross_entropy(
        scores[:, 8:], clips.look
    )
    torch.testing.assert_close(run.recipe.task.loss(run.model, clips.clip, clips), plain)
    assert set(loop.evaluate(run, 0, 3).scores) == {"motion", "look"}


def weights(folder: str) -> dict[str, Tensor]:
    return load_file(Path(folder) / f"{NAME}.safetensors")


def test_the_command_trains_gates_and_says_so(
    tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--output", "out") == 0
    state = weights("out")
    names = [key for key in state if key.endswith("drop_logit")]
    assert len(names) == 6
    for name in names:
        assert float(state[name].abs().min()) > 0
        kept = state[name.replace("drop_logit", "strategy")]
        assert torch.equal(kept, state[name] <= 0)
    card = " ".join(Path(f"out/{NAME}.md").read_text().split())
    for text in (
        "python -m models.train fusion_net_small --seed 0 ```",
        "(gates: 2 times the learning rate, no decay)",
        "from a prior with k = 3, divided by the number of clips",
        "under the most probable strategy",
    ):
        assert text in card, text
    assert run("--output", "out", "--resume", "--lr", "0.5") == 2
    assert "lr was 0.01, now 0.5" in capsys.readouterr().err


def test_a_checkpoint_belongs_to_gate_lr_and_length_scale(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--output", "out") == 0
    for other, message in (
        (replace(tiny, gate_lr=9.0), "gate_lr was 2.0, now 9.0"),
        (replace(tiny, task=FusionClassification(length_scale=7.0)), "length_scale was 3.0, now 7"),
    ):
        monkeypatch.setitem(recipes.RECIPES, NAME, other)
        assert run("--output", "out", "--resume") == 2
        assert message in capsys.readouterr().err


def test_options_reach_model_data_card_and_checkpoint(
    tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--option", "question=motion", "--option", "halved=True", "--option", "conv=s+st"]
    assert run(*given, "--output", "out") == 0
    assert not any("gates" in key for key in weights("out"))
    assert weights("out")["scores.weight"].shape[0] == 8
    card = " ".join(Path(f"out/{NAME}.md").read_text().split())
    expected = "--option question=motion --option halved=True --option conv=s+st --seed 0"
    assert f"python -m models.train fusion_net_small {expected}" in card
    assert "clips of 4 frames" in card
    assert [path.name for path in Path("runs").iterdir()] == [
        "fusion_net_small-conv=s+st-halved=True-question=motion"
    ]
    changed = ["--option", "question=look", *given[2:]]
    folder = next(Path("runs").iterdir())
    assert run(*changed, "--output", "out", "--resume", "--run-folder", str(folder)) == 2
    message = "option question was 'motion', now 'look'"
    assert message in capsys.readouterr().err


def test_the_data_take_the_option_that_they_share(tiny: Recipe) -> None:
    given = [NAME, "--option", "halved=True", "--output", "out"]
    parsed = train.parser().parse_args(given)
    parsed.device = CPU
    prepared = command.prepare(parsed, print)
    assert prepared.options == {"halved": True}
    assert prepared.recipe.data(2, 0, "train")[0].clip.shape == (1, 4, 24, 24)
    assert recipes.RECIPES[NAME].data(2, 0, "train")[0].clip.shape == (1, 9, 24, 24)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--option", "conv=s"], f"--option needs --output, since {WEIGHTS} keeps the weights of"),
        (["--option", "conv", "--output", "o"], "--option must be KEY=VALUE, got 'conv'"),
        (["--option", "=s", "--output", "o"], "--option must be KEY=VALUE, got '=s'"),
        (
            ["--option", "conv=s", "--option", "conv=st", "--output", "o"],
            "--option conv must be given once, got 'conv=st' as well",
        ),
        (["--option", "colour=red", "--output", "o"], "unexpected keyword argument 'colour'"),
        (["--option", "conv=3d", "--output", "o"], "conv must be "),
    ],
)
def test_bad_options_are_told(
    arguments: list[str], message: str, tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().iterdir())


@pytest.mark.slow
def test_gates_leave_their_start(tmp_path: Path) -> None:
    recipe = replace(recipes.RECIPES[NAME], steps=400, eval_every=400, eval_clips=200)
    torch.manual_seed(0)
    run = Run(build(NAME, question="motion"), recipe, 0, CPU, tmp_path / "c.pt", workers=0)
    loop.fit(run, show_progress=False)
    moved = torch.cat([gates.keep_probability().detach() for gates in gates_of(run.model)])
    assert float((moved - 0.5).abs().max()) > 0.2
    # the frames without their order are right about one half of the motions at most
    assert run.progress.best > 0.6
