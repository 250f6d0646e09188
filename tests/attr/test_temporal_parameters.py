"""Reading temporal parameters: names, units, conventions, tables, what is refused."""

from __future__ import annotations

import csv
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from captum_video import TemporalParameters
from captum_video.nn import Conv3T, FreeConv3T

CLIP = (2, 1, 16, 32, 32)


class Net(nn.Module):
    """Two 3T layers behind strides of (1, 1, 1) and (4, 8, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Conv3T(1, 4, 3, padding=1)
        self.pool = nn.MaxPool3d((2, 4, 2))
        self.reduce = nn.Conv3d(4, 4, 1, stride=2)
        self.second = Conv3T(4, 6, (3, 5, 3), padding=(2, 4, 1), dilation=(2, 2, 1))
        self.unused = Conv3T(1, 2, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.first(x).relu())
        return self.head(self.second(self.reduce(x)).relu().mean((2, 3, 4)))


def build(spread: float = 0.1) -> Net:
    torch.manual_seed(0)
    net = Net().double().eval()
    with torch.no_grad():
        for module in net.modules():
            for parameter in module._transforms() if isinstance(module, Conv3T) else ():
                parameter.add_(spread * torch.randn_like(parameter))
    return net


def clip(*shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.rand(shape or CLIP, generator=rng, dtype=torch.float64)


class TestRead:
    def test_names_and_shapes(self) -> None:
        net = build()
        readout = TemporalParameters(net).read()
        assert list(readout) == ["first", "second", "unused"]
        assert repr(readout) == "TemporalReadout(first: 4 x 2, second: 6 x 2, unused: 2 x 2)"
        second = readout["second"]
        assert (second.layer, second.channels, second.steps) == ("second", 6, 2)
        assert second.kernel_size == (3, 5, 3)
        assert second.explained is None
        for part in (second.step, second.cumulative):
            assert all(v.shape == (2, 6) and not v.requires_grad for v in vars(part).values())
        by_name, by_module = (TemporalParameters(net, layer) for layer in ("second", net.second))
        assert list(by_name.read()) == list(by_module.read()) == ["second"]

    def test_identity(self) -> None:
        for readout in TemporalParameters(build(0.0)).read().values():
            for part in (readout.step, readout.cumulative):
                assert (part.scale == 1).all()
                assert all((v == 0).all() for k, v in vars(part).items() if k != "scale")

    def test_pixels(self) -> None:
        net = build(0.0)
        with torch.no_grad():
            net.second.translation_x[:, 1] = -1.0
            net.second.translation_y[:, 1] = -0.5
        parameters = TemporalParameters(net, "second")
        feature = parameters.read()["second"]
        # (3 - 1) / 2 columns; (5 - 1) / 2 rows, two apart; a step is two frames of the layer's input
        assert feature.step.translation_x[:, 1].tolist() == [1, 1]
        assert feature.step.translation_y[:, 1].tolist() == [2, 2]
        assert feature.cumulative.translation_y[:, 1].tolist() == [2, 4]
        assert feature.step.fraction_x[:, 1].tolist() == [1, 1]
        assert feature.step.fraction_y[:, 1].tolist() == [0.5, 0.5]
        assert (feature.frames_per_step, feature.y_axis) == (2, "down")
        given = parameters.read(units="input", inputs=clip())["second"]
        assert given.step.translation_x[:, 1].tolist() == [4, 4]
        assert given.cumulative.translation_y[:, 1].tolist() == [16, 32]
        assert given.frames_per_step == 8
        paper = parameters.read(units="paper", frame_size=(150, 224))["second"]
        assert paper.cumulative.translation_x[:, 1].tolist() == [112, 224]
        assert paper.cumulative.translation_y[:, 1].tolist() == [-37.5, -75]
        assert (paper.y_axis, paper.units) == ("up", "paper")

    def test_strides_of_cut_windows_and_keywords(self) -> None:
        class Cut(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                # its last window is cut, so that the last centre lies nearer to the one before
                self.pool = nn.MaxPool3d(3, 3, ceil_mode=True)
                self.conv = Conv3T(1, 3, 3, padding=1)

            def forward(self, x: Tensor) -> Tensor:
                return self.conv(x=self.pool(x)).mean((2, 3, 4))

        parameters = TemporalParameters(Cut().double().eval())
        readout = parameters.read(units="input", inputs=clip(1, 1, 10, 16, 16))["conv"]
        assert readout.frames_per_step == 3

    def test_calls_in_other_threads_are_not_this_ones(self) -> None:
        net = build()

        class Elsewhere(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first = net.first

            def forward(self, x: Tensor) -> Tensor:
                other = threading.Thread(target=self.first, args=(x[:, :, ::2],))
                other.start()
                other.join()
                return self.first(x).sum((2, 3, 4))

        readout = TemporalParameters(Elsewhere()).read(units="input", inputs=clip())["first"]
        assert readout.frames_per_step == 1

    def test_frame_sizes_of_other_integers(self) -> None:
        size: Any = torch.Size([8, 6])
        readout = TemporalParameters(build(), "first")
        a = readout.read(units="paper", frame_size=size)["first"]
        b = readout.read(units="paper", frame_size=(np.int64(8), np.int64(6)))["first"]
        assert torch.equal(a.step.translation_x, b.step.translation_x)

    def test_kernel_or_motion(self) -> None:
        net = build()
        parameters = TemporalParameters(net, "first")
        raw = parameters.read(describes="kernel")["first"]
        assert torch.allclose(raw.step.scale, net.first.scale.detach())
        assert torch.allclose(raw.step.rotation, torch.rad2deg(net.first.rotation.detach()))
        motion = parameters.read()["first"]
        assert torch.allclose(motion.step.scale, 1 / net.first.scale.detach())
        assert torch.allclose(motion.step.rotation, -raw.step.rotation)
        assert torch.allclose(motion.step.translation_x, -net.first.translation_x.detach())
        assert (raw.describes, motion.describes) == ("kernel", "motion")

    def test_follows_the_model(self) -> None:
        net = build(0.0)
        parameters = TemporalParameters(net, "first")
        before = parameters.read()["first"]
        with torch.no_grad():
            net.first.rotation.fill_(math.pi / 6)
        assert parameters.read()["first"].step.rotation.unique().tolist() == pytest.approx([-30])
        assert (before.step.rotation == 0).all()

    def test_layer_in_a_function(self) -> None:
        net = build()

        def model(x: Tensor) -> Tensor:
            return net(x)

        assert list(TemporalParameters(model, net.first).read()) == ["Conv3T"]
        with pytest.raises(ValueError, match="layer is needed where the model is a function"):
            TemporalParameters(model)

    def test_time_in_another_axis(self) -> None:
        net = build()

        class Turned(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = net

            def forward(self, x: Tensor) -> Tensor:
                return self.net(x.transpose(1, 2))

        parameters = TemporalParameters(Turned(), "net.second", time_dim=1)
        readout = parameters.read(units="input", inputs=clip(2, 16, 1, 32, 32))["net.second"]
        assert readout.frames_per_step == 8


class TestTable:
    def test_rows(self, tmp_path: Path) -> None:
        readout = TemporalParameters(build()).read()
        rows = readout.rows()
        assert len(rows) == (4 + 6 + 2) * 2
        row = rows[4 * 2 + 3 * 2 + 1]
        assert (row["layer"], row["channel"], row["step"]) == ("second", 3, 2)
        second = readout["second"]
        assert row["rotation"] == float(second.step.rotation[1, 3])
        assert row["cumulative_translation_y"] == float(second.cumulative.translation_y[1, 3])
        assert row["cumulative_scale"] == float(second.cumulative.scale[1, 3])
        assert (row["units"], row["describes"], row["y_axis"]) == ("feature", "motion", "down")
        assert row["frames_per_step"] == 2.0
        path = tmp_path / "deep" / "table.csv"
        readout.to_csv(path)
        with path.open(newline="", encoding="utf-8") as file:
            read = list(csv.DictReader(file))
        assert [dict(r) for r in read] == [{k: str(v) for k, v in r.items()} for r in rows]


class TestBadInput:
    def test_no_3t_layer(self) -> None:
        plain = nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU())
        text = r"the model has no Conv3T.*TemporalParameters.fit\(model, layer\)"
        with pytest.raises(ValueError, match=text):
            TemporalParameters(plain)
        with pytest.raises(ValueError, match=r"layer '0' \(Conv3d\) is no Conv3T.*fit"):
            TemporalParameters(plain, "0")
        with pytest.raises(ValueError, match=r"'0' \(FreeConv3T\) is no Conv3T.*fit"):
            TemporalParameters(nn.Sequential(FreeConv3T(1, 2, 3)), "0")

    def test_names(self) -> None:
        with pytest.raises(ValueError, match=r"layer 'secnd'.*Did you mean 'second'"):
            TemporalParameters(build(), "secnd")
        with pytest.raises(TypeError, match="layer must be a module or its dotted name, got int"):
            TemporalParameters(build(), 3)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="model"):
            TemporalParameters(3)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"units": "metres"}, "units must be 'feature' or 'input' or 'paper', got 'metres'"),
            ({"describes": "both"}, "describes must be 'motion' or 'kernel', got 'both'"),
            ({"units": "paper"}, "units='paper' needs frame_size.*got None"),
            ({"units": "paper", "frame_size": (0, 4)}, r"needs frame_size.*got \(0, 4\)"),
            ({"frame_size": (4, 4)}, "frame_size counts for units='paper' alone.*'feature'"),
            ({"units": "input"}, "units='input' needs inputs"),
            ({"units": "input", "inputs": torch.zeros(1, 1, 4, 32, 32).byte()}, "floating-point"),
            (
                {"units": "input", "inputs": torch.zeros(1, 1, 4, 8, 8, dtype=torch.float64)},
                "'second' sees a single place along T, H of inputs of shape.*give a larger clip",
            ),
        ],
    )
    def test_options(self, options: dict[str, Any], text: str) -> None:
        net = build()
        del net.unused
        with pytest.raises((ValueError, TypeError), match=text):
            TemporalParameters(net).read(**options)

    def test_a_layer_that_is_not_called(self) -> None:
        with pytest.raises(ValueError, match=r"layer 'unused' is not called.*units='feature'"):
            TemporalParameters(build()).read(units="input", inputs=clip())

    def test_axes_that_cannot_be_followed(self) -> None:
        net = build()

        class Mixed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = net

            def forward(self, x: Tensor) -> Tensor:
                return self.net(x.transpose(3, 4))

        with pytest.raises(ValueError, match="cannot be followed back to time, height and width"):
            TemporalParameters(Mixed(), "net.first").read(units="input", inputs=clip())

    def test_time_reversed_or_at_two_rates(self) -> None:
        net = build()

        class Calls(nn.Module):
            def __init__(self, twice: bool) -> None:
                super().__init__()
                self.first, self.twice = net.first, twice

            def forward(self, x: Tensor) -> Tensor:
                if self.twice:
                    return self.first(x).sum((2, 3, 4)) + self.first(x[:, :, ::2]).sum((2, 3, 4))
                return self.first(x.flip(2)).sum((2, 3, 4))

        with pytest.raises(ValueError, match="layer 'first' sees time reversed"):
            TemporalParameters(Calls(False)).read(units="input", inputs=clip())
        with pytest.raises(ValueError, match="layer 'first' is called at several strides"):
            TemporalParameters(Calls(True)).read(units="input", inputs=clip())

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_not_finite(self, value: float) -> None:
        net = build()
        with torch.no_grad():
            net.second.rotation[1, [2, 5]] = value
        text = r"rotation of layer 'second' is NaN or infinite in channel\(s\) 2, 5"
        with pytest.raises(ValueError, match=text):
            TemporalParameters(net).read()

    def test_degenerate(self) -> None:
        net = build()
        with torch.no_grad():
            net.first.scale[1, 3] = 1e-5
        text = r"scale of layer 'first' is nearer to 0 than 0.001 in channel\(s\) 3"
        with pytest.warns(UserWarning, match=text):
            readout = TemporalParameters(net, "first").read()["first"]
        assert readout.step.scale.isnan().tolist() == [[False] * 4, [False, False, False, True]]
        raw = TemporalParameters(net, "first").read(describes="kernel")["first"]
        assert raw.step.scale[1, 3].item() == pytest.approx(1e-5)
