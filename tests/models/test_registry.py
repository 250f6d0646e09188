from __future__ import annotations

from pathlib import Path

import pytest
import torch

import models
from models import registry


def test_names_are_listed() -> None:
    assert {"c3d", "c3d_small"} <= set(models.list_models())
    assert models.list_models() == sorted(models.list_models())
    assert "c3d_small" in models.list_models(bundled=True)
    assert "c3d" in models.list_models(bundled=False)


@pytest.mark.parametrize("make", [models.build, models.load])
def test_an_unknown_name_brings_close_ones(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r"no model 'c3d_smal'. Did you mean 'c3d_small'"):
        make("c3d_smal")
    with pytest.raises(ValueError, match=r"no model 'zzz'. Known: .*c3d, c3d_small"):
        make("zzz")


def test_missing_weights_name_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"python -m models\.train c3d_small"):
        models.load("c3d_small")
    with pytest.raises(FileNotFoundError, match=r"with weights come: .*c3d_small.*build\('c3d'\)"):
        models.load("c3d")


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="'c3d' is registered already"):
        registry.register("c3d")


def test_options_reach_the_model() -> None:
    model = models.build("c3d_small", dropout=0.7)
    assert model.get_submodule("dropout6").p == 0.7
    with pytest.raises(TypeError, match="colour"):
        models.build("c3d_small", colour="red")


def test_fresh_weights_follow_the_global_seed() -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(models.build("c3d_small").state_dict()["conv1.weight"])
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
