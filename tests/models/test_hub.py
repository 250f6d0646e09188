from __future__ import annotations

from pathlib import Path

import pytest
import torch

import hubconf
import models

REPOSITORY = str(Path(__file__).parents[2])


def test_every_model_has_an_entry_point() -> None:
    for name in models.list_models():
        entry_point = getattr(hubconf, name)
        assert entry_point.__name__ == name
        assert "Returns:" in entry_point.__doc__


def test_the_bundled_model_comes_with_its_weights() -> None:
    model = torch.hub.load(REPOSITORY, "c3d_small", source="local")
    assert not model.training
    expected = models.load("c3d_small").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    assert model.info.score is not None


def test_options_build_an_untrained_model() -> None:
    fresh = torch.hub.load(REPOSITORY, "c3d_small", source="local", pretrained=False, dropout=0.1)
    assert fresh.training
    assert fresh.info.score is None
    with torch.device("meta"):
        model = torch.hub.load(REPOSITORY, "c3d", source="local", classes=5)
    assert len(model.info.classes) == 5
    with pytest.raises(ValueError, match="Options need pretrained=False, got dropout"):
        torch.hub.load(REPOSITORY, "c3d_small", source="local", dropout=0.1)
