"""Relaxed Bernoulli gates: what they keep, and what forces them."""

from __future__ import annotations

import copy
import io
import pickle
import threading
import warnings

import pytest
import torch

from captum_video.nn.gates import FusionGates, forced_gates
from tests.nn.test_gates import CLIP, UNITS, gates


class TestForced:
    ONES, ZEROS = torch.ones(1, 3), torch.zeros(1, 3)

    @pytest.mark.parametrize("training", [True, False])
    def test_overrides_in_either_mode(self, training: bool) -> None:
        one = gates(dtype=torch.float32).train(training)
        each = torch.arange(12.0).reshape(4, 3)
        before = torch.get_rng_state()
        with forced_gates({one: each}):
            assert torch.equal(one(CLIP), each[..., None, None, None, None])
        with forced_gates({one: self.ZEROS}):
            assert torch.equal(one(CLIP).flatten(), torch.zeros(3))
            assert torch.equal(one(CLIP[0]), torch.zeros(3, 1, 1, 1, 1))
            assert one(CLIP.double()).dtype == torch.float64
        assert torch.equal(before, torch.get_rng_state())
        assert len(one(CLIP)) == (4 if training else 1)

    def test_nested(self) -> None:
        one, two, free = (gates().eval() for _ in range(3))
        halves = torch.full((1, 3), 0.5)
        with forced_gates({one: self.ZEROS}):
            with forced_gates({two: halves}):
                assert one(CLIP).sum() == 0
                assert two(CLIP).sum() == 1.5
                with forced_gates({one: halves}):
                    assert one(CLIP).sum() == 1.5
                assert one(CLIP).sum() == 0
                assert free(CLIP).sum() == 3
            assert two(CLIP).sum() == 3
            assert one(CLIP).sum() == 0
        assert one(CLIP).sum() == 3

    def test_restored_after_an_exception(self) -> None:
        one = gates().eval()
        with forced_gates({one: self.ZEROS}):
            with pytest.raises(RuntimeError, match="inside"), forced_gates({one: self.ONES}):
                raise RuntimeError("inside")
            assert one(CLIP).sum() == 0
        assert one(CLIP).sum() == 3

    def test_other_threads_are_left_alone(self) -> None:
        one = gates().eval()
        seen = []
        with forced_gates({one: self.ZEROS}):
            thread = threading.Thread(target=lambda: seen.append(one(CLIP).sum().item()))
            thread.start()
            thread.join()
            assert one(CLIP).sum() == 0
        assert seen == [3]

    @pytest.mark.parametrize("where", ["nowhere", "another thread"])
    def test_gates_that_nothing_asks_for(self, where: str) -> None:
        """As of DataParallel's replicas, which would ignore what is forced."""
        one, two = gates().eval(), gates().eval()

        def run() -> None:
            two(CLIP)
            if where == "another thread":
                thread = threading.Thread(target=one, args=(CLIP,))
                thread.start()
                thread.join()

        text = r"ran none of its gates in this thread.*DataParallel.*give model\.module"
        with pytest.raises(RuntimeError, match=text), forced_gates({one: self.ZEROS}):
            run()
        assert one(CLIP).sum() == 3

    def test_one_of_several_gates_is_enough(self) -> None:
        one, two = gates().eval(), gates().eval()
        with forced_gates({one: self.ZEROS, two: self.ZEROS}):
            assert two(CLIP).sum() == 0
        with forced_gates({}):
            assert one(CLIP).sum() == 3

    def test_what_nested_blocks_ask_for(self) -> None:
        one, two = gates().eval(), gates().eval()
        with forced_gates({one: self.ZEROS}), forced_gates({one: self.ONES}):
            one(CLIP)  # asked for inside, where it is covered
        for asked in (one, two):
            with (
                pytest.raises(RuntimeError, match="ran none"),
                forced_gates({one: self.ZEROS}),
                forced_gates({two: self.ZEROS}),
            ):
                asked(CLIP)

    def test_an_exception_comes_through(self) -> None:
        with pytest.raises(KeyError, match="own"), forced_gates({gates(): self.ZEROS}):
            raise KeyError("own")

    def test_gradients_reach_the_values(self) -> None:
        one = gates(dtype=torch.float32)
        values = torch.rand(4, 3, requires_grad=True)
        with forced_gates({one: values}):
            one(CLIP).sum().backward()
        assert torch.equal(values.grad, torch.ones(4, 3))  # type: ignore[arg-type]
        assert one.drop_logit.grad is None


class TestState:
    def test_state_dict(self) -> None:
        one, other = gates(), gates(0.5)
        one.set_strategy([True, False, True])
        assert set(one.state_dict()) == {"drop_logit", "strategy"}
        other.load_state_dict(one.state_dict())
        assert other.strategy.tolist() == [True, False, True]
        assert torch.equal(other.drop_logit, one.drop_logit)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_a_strategy_stays_bool(self, dtype: torch.dtype) -> None:
        one = gates().to(dtype)
        one.set_strategy([False, True, True])
        assert one.to(torch.float32).strategy.dtype == torch.bool
        assert one.strategy.tolist() == [False, True, True]

    def test_copies(self) -> None:
        one = gates(temperature=0.7).eval()
        one.set_strategy([True, False, True])
        file = io.BytesIO()
        torch.save(one, file)
        file.seek(0)
        copies: list[FusionGates] = [
            copy.deepcopy(one), pickle.loads(pickle.dumps(one)), torch.load(file, weights_only=False),
        ]  # fmt: skip
        for twin in copies:
            assert twin.units == UNITS
            assert twin.temperature == 0.7
            assert torch.equal(twin.drop_logit, one.drop_logit)
            assert twin(CLIP).flatten().tolist() == [1, 0, 1]
            twin.set_strategy([False, False, False])
            assert one.strategy.tolist() == [True, False, True]
            with forced_gates({one: torch.zeros(1, 3)}):
                twin.set_strategy([True, True, True])
                assert twin(CLIP).sum() == 3
                assert one(CLIP).sum() == 0

    def test_meta(self) -> None:
        one = FusionGates(UNITS, device="meta", dtype=torch.float64)
        assert one.drop_logit.is_meta
        assert one.strategy.is_meta
        assert one.drop_logit.dtype == torch.float64

    def test_no_units(self) -> None:
        with pytest.raises(ValueError, match="units must name at least one unit, got none"):
            FusionGates([])


class TestCompilers:
    def test_compile(self) -> None:
        one = gates(dtype=torch.float32).eval()
        run = torch.compile(one, backend="eager", fullgraph=True)
        assert torch.equal(run(CLIP), one(CLIP))
        one.set_strategy([False, True, False])
        assert run(CLIP).flatten().tolist() == [0, 1, 0]
        for values in (torch.rand(4, 3), torch.rand(1, 3)):
            with forced_gates({one: values}):
                assert torch.equal(run(CLIP), one(CLIP))
        assert run(CLIP).flatten().tolist() == [0, 1, 0]
        one.train()
        torch.manual_seed(0)
        got = run(CLIP)
        torch.manual_seed(0)
        assert torch.equal(got, one(CLIP))

    def test_export_and_trace_follow_the_strategy_buffer(self) -> None:
        one = gates(dtype=torch.float32).eval()
        one.set_strategy([False, True, False])
        exported = torch.export.export(one, (CLIP,)).module()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deprecated")
            traced = torch.jit.trace(one, (CLIP,))
        for run in (exported, traced):
            assert run(CLIP).flatten().tolist() == [0, 1, 0]
            dict(run.named_buffers())["strategy"].copy_(torch.tensor([True, True, False]))
            assert run(CLIP).flatten().tolist() == [1, 1, 0]
            one.set_strategy([False, True, False])
