"""The kernel that a Conv3T keeps in evaluation mode: when it is kept, and when it is built anew."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from captum_video.nn import FactorizedConv3d
from tests.nn.layers import KINDS, moved


@pytest.mark.parametrize("kind", KINDS)
class TestKeptKernel:
    def test_kept_in_evaluation_mode(self, kind: type[FactorizedConv3d]) -> None:
        layer = moved(kind(3, 4, 3)).eval()
        with torch.no_grad():
            kernel = layer._kernel()
            assert layer._kernel() is kernel
            assert layer.train()._kernel() is not kernel
            assert layer.eval()._kernel() is kernel
        layer.requires_grad_(False)
        assert layer._kernel() is kernel
        given = layer.kernel()
        given.zero_()  # is the caller's own
        assert layer._kernel() is kernel
        assert kernel.abs().max() > 0

    def test_a_gradient_can_still_be_had(self, kind: type[FactorizedConv3d]) -> None:
        layer = moved(kind(3, 4, 3)).eval()
        with torch.no_grad():
            layer.kernel()
        for _ in range(2):
            (gradient,) = torch.autograd.grad(layer.kernel().square().sum(), layer.first_slice)
            assert gradient.abs().max() > 0

    def test_built_anew_after_a_change(self, kind: type[FactorizedConv3d]) -> None:
        layer = moved(kind(3, 4, 3, dtype=torch.float64)).eval()
        with torch.no_grad():
            for name in dict(layer.named_parameters()).keys() - {"bias"}:
                before = layer.kernel()
                # through .data, which torch does not count as a change
                getattr(layer, name).data.mul_(1.25).add_(0.125)
                after = layer.kernel()
                assert (after - before).abs().max() > 1e-3
                assert torch.equal(after, copy.deepcopy(layer).train().kernel())
            layer.load_state_dict(kind(3, 4, 3, dtype=torch.float64).state_dict())
            assert torch.equal(layer.kernel()[:, :, 0], layer.kernel()[:, :, 1])

    def test_parameters_that_are_computed(self, kind: type[FactorizedConv3d]) -> None:
        class Half(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x / 2

        layer = moved(kind(3, 4, 3)).eval()
        name = layer.transform_names[0]
        parametrize.register_parametrization(layer, name, Half(), unsafe=True)
        original = layer.parametrizations[name].original
        with torch.no_grad():
            before = layer.kernel()
            original.mul_(0.7)
            assert torch.equal(layer.kernel(), layer._build())
            assert not torch.equal(layer.kernel(), before)
        layer.requires_grad_(False)
        original.requires_grad_()
        assert layer.kernel().requires_grad

    def test_pruned(self, kind: type[FactorizedConv3d]) -> None:
        layer = moved(kind(3, 4, 3)).eval()
        with torch.no_grad():
            before = layer.kernel()
            prune.random_unstructured(layer, layer.transform_names[0], 0.5)
            assert torch.equal(layer.kernel(), layer._build())
            assert not torch.equal(layer.kernel(), before)

    @pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")  # of torch's own tables
    def test_transforms_of_functions(self, kind: type[FactorizedConv3d]) -> None:
        layer = moved(kind(3, 4, 3)).eval()
        with torch.no_grad():
            layer.kernel()
        values = {name: value.detach() for name, value in layer.named_parameters()}
        tangents = {name: torch.ones_like(value) for name, value in values.items()}

        def call(parameters: dict[str, Tensor]) -> Tensor:
            y: Tensor = torch.func.functional_call(layer, parameters, torch.ones(1, 3, 3, 3, 3))
            return y

        for _ in range(2):
            slope: Tensor = torch.func.jvp(call, (values,), (tangents,))[1]
            assert slope.abs().max() > 0

    def test_follows_the_dtype(self, kind: type[FactorizedConv3d]) -> None:
        layer = moved(kind(3, 4, 3)).eval()
        with torch.no_grad():
            assert layer.kernel().dtype == torch.float32
            assert layer.double().kernel().dtype == torch.float64

    def test_kept_under_inference_mode_serves_outside(self, kind: type[FactorizedConv3d]) -> None:
        layer, x = moved(kind(3, 4, 3)).eval().requires_grad_(False), torch.randn(1, 3, 4, 6, 6)
        with torch.inference_mode():
            inside = layer(x)
        leaf = x.clone().requires_grad_()
        outside = layer(leaf)
        assert torch.equal(inside, outside)
        outside.sum().backward()
        assert leaf.grad is not None

    def test_copies_and_files_leave_it_out(self, kind: type[FactorizedConv3d]) -> None:
        layer, x = moved(kind(3, 4, 3)).eval(), torch.randn(1, 3, 4, 6, 6)
        with torch.no_grad():
            expected = layer(x)
            size = len(pickle.dumps(kind(3, 4, 3).eval()))
            assert len(pickle.dumps(layer)) == size
            assert torch.equal(pickle.loads(pickle.dumps(layer))(x), expected)
            assert torch.equal(copy.deepcopy(layer)(x), expected)
