from __future__ import annotations

import pytest
import torch

from captum_video.metrics import density


def test_density_by_hand() -> None:
    relevance = torch.tensor([[3.0, 1.0, -5.0, 0.0], [1.0, 0.0, 5.0, 0.0]]).view(1, 2, 1, 1, 4)
    # channels summed: 4, 1, 0, 0; mean 5/4; on the first two: 5/2
    mask = torch.tensor([True, True, False, False]).view(1, 1, 1, 4)
    assert density(relevance, mask).tolist() == [2.0]
    assert density(-relevance, mask).isnan().all()
    assert density(relevance, mask & False).isnan().all()


def test_density_refuses() -> None:
    relevance = torch.ones(1, 3, 2, 4, 4)
    with pytest.raises(TypeError, match=r"mask must be boolean, got torch.float32"):
        density(relevance, torch.ones(1, 2, 4, 4))
    with pytest.raises(ValueError, match=r"got \(1, 2, 4\) for \(1, 3, 2, 4, 4\)"):
        density(relevance, torch.ones(1, 2, 4, dtype=torch.bool))
