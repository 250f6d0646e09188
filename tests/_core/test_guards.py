from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from captum_video._core import guards
from captum_video._core.errors import close_matches, missing_extra


class OnCuda:
    """Stands in for a tensor on a CUDA device: the guards ask for nothing else."""

    device = torch.device("cuda", 0)


@pytest.fixture
def flags() -> Iterator[None]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.enabled, cudnn.allow_tf32, matmul.allow_tf32
    cudnn.enabled = cudnn.allow_tf32 = matmul.allow_tf32 = True
    yield
    cudnn.enabled, cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.usefixtures("flags")
class TestFlags:
    def test_exact_convolutions(self) -> None:
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

        def fails() -> None:
            with guards.exact_convolutions(OnCuda()):  # type: ignore[arg-type]
                assert not cudnn.allow_tf32
                assert not matmul.allow_tf32
                raise LookupError

        with pytest.raises(LookupError):
            fails()
        assert cudnn.allow_tf32
        assert matmul.allow_tf32
        with guards.exact_convolutions(torch.zeros(1)):
            assert cudnn.allow_tf32  # nothing to switch off on the CPU

    def test_recurrent_backward(self) -> None:
        recurrent, plain = nn.Sequential(nn.LSTM(2, 2)), nn.Linear(2, 2)

        def fails() -> None:
            with guards.recurrent_backward(recurrent, OnCuda()):  # type: ignore[arg-type]
                assert not torch.backends.cudnn.enabled
                raise LookupError

        with pytest.raises(LookupError):
            fails()
        assert torch.backends.cudnn.enabled
        for model, tensor in ((plain, OnCuda()), (recurrent, torch.zeros(1))):
            with guards.recurrent_backward(model, tensor):  # type: ignore[arg-type]
                assert torch.backends.cudnn.enabled


class TestUntouched:
    def test_gives_everything_back(self) -> None:
        net = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 2)).eval()
        before = {k: v.clone() for k, v in net.state_dict().items()}
        buffer = net[0].running_mean
        state = torch.get_rng_state()

        def meddle() -> None:
            with guards.untouched(net, torch.device("cpu")):
                net.train()
                net(torch.randn(4, 3))
                net[0].running_var = torch.ones(3)
                net[2].weight.requires_grad_(False)
                raise LookupError

        with pytest.raises(LookupError):
            meddle()
        assert net[0].running_mean is buffer
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
        assert not any(module.training for module in net.modules())
        assert net[2].weight.requires_grad
        assert torch.equal(torch.get_rng_state(), state)

    def test_finds_the_module_behind_a_method(self) -> None:
        net = nn.Linear(2, 2)
        assert guards.module_of(net) is net
        assert guards.module_of(net.forward) is net
        assert guards.module_of(torch.relu) is None

    def test_evaluation_mode_through_a_method(self) -> None:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.drop = nn.Dropout()

            def scores(self, x: Tensor) -> Tensor:
                return self.drop(x)

        with pytest.raises(RuntimeError, match="Dropout 'drop' is in training mode"):
            guards.check_evaluation_mode(Net().scores)
        guards.check_evaluation_mode(Net().eval().scores)


def test_close_matches() -> None:
    assert close_matches("conv3d", ["conv3", "fc"]) == "Did you mean 'conv3'?"
    assert close_matches("zzz", ["conv3", "fc"]) == "Known: conv3, fc."
    assert close_matches("zzz", []) == "There is none."
    many = [str(n) * 9 for n in range(30)]
    assert close_matches("zzz", many).endswith(", ....")


def test_missing_extra() -> None:
    error = missing_extra("scikit-video", "models", "The demo")
    assert str(error) == (
        "The demo needs scikit-video, which is not installed: pip install 'captum-video[models]'"
    )
