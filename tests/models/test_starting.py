"""Weights to start from: what goes in, what stays fresh, and what is refused untouched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import models
from models.info import BundledModel, ModelInfo
from models.training.starting import start_from
from tests.models.test_c3d_published import narrow, published, renamed

State = dict[str, Tensor]


class Net(BundledModel):
    """A hidden layer of ``width`` and a head for each of two questions of ``classes``."""

    def __init__(self, classes: int = 3, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))
        self.head = nn.Linear(width, classes)
        self.aux = nn.Linear(width, classes)
        names = tuple(map(str, range(classes)))
        groups = {"action": range(classes)}
        self.info = ModelInfo("net", names, groups, 1, (), (0.0,), (1.0,), "body")


HEADS = ("head.weight", "head.bias", "aux.weight", "aux.bias")


def state_of(model: nn.Module) -> State:
    return {key: value.clone() for key, value in model.state_dict().items()}


def saved(content: Any, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def check(model: nn.Module, before: State, wanted: State, fresh: tuple[str, ...]) -> None:
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key] if key in fresh else wanted[key]), key
        assert value.dtype == before[key].dtype


class TestLayouts:
    @pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".pth.tar"])
    def test_a_plain_state_dict(self, suffix: str, tmp_path: Path) -> None:
        source, model = Net(), Net()
        path = saved(source.state_dict(), tmp_path / f"weights{suffix}")
        before = state_of(model)
        assert start_from(model, path) == ()
        assert not torch.equal(before["body.0.weight"], model.state_dict()["body.0.weight"])
        check(model, before, source.state_dict(), ())

    @pytest.mark.parametrize("layout", ["state_dict", "model", "devices", "run", "young run"])
    def test_a_nested_one(self, layout: str, tmp_path: Path) -> None:
        source, model = Net(), Net()
        state = source.state_dict()
        other = Net().state_dict()
        contents: dict[str, Any] = {
            "state_dict": {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
            "model": {"model": state, "optimizer": {}},
            "devices": {"state_dict": {f"module.{key}": value for key, value in state.items()}},
            "run": {"plan": {"name": "net"}, "model": other, "best_state": state},
            "young run": {"plan": {"name": "net"}, "model": state, "best_state": {}},
        }
        before = state_of(model)
        assert start_from(model, str(saved(contents[layout], tmp_path / "weights.pt"))) == ()
        check(model, before, state, ())

    def test_half_precision_and_old_files_without_counters(self, tmp_path: Path) -> None:
        source, model = Net(), Net()
        state = {k: v.half() for k, v in source.state_dict().items() if "num_batches" not in k}
        before = state_of(model)
        start_from(model, saved(state, tmp_path / "weights.pt"))
        wanted = {**before, **{key: value.float() for key, value in state.items()}}
        check(model, before, wanted, ())

    def test_the_bundled_weights(self) -> None:
        torch.manual_seed(0)
        model = models.build("res_tcn_small", classes=["sit", "stand"])
        before = state_of(model)
        path = models.registry.WEIGHTS / "res_tcn_small.safetensors"
        fresh = start_from(model, path)
        assert fresh == ("output.weight", "output.bias")
        check(model, before, models.load("res_tcn_small").state_dict(), fresh)


class TestHeads:
    def test_of_another_number_of_classes_stay_fresh(self, tmp_path: Path) -> None:
        source, model = Net(5), Net(3)
        before = state_of(model)
        path = saved(source.state_dict(), tmp_path / "weights.pt")
        assert start_from(model, path) == HEADS
        check(model, before, source.state_dict(), HEADS)

    def test_hidden_layers_of_another_width_are_none(self, tmp_path: Path) -> None:
        # as wide as there are classes, so that its weights look like a head's
        refused(
            Net(3, 3), Net(3, 5).state_dict(), tmp_path, "body.0.weight with shape (5, 2) where"
        )
        refused(
            Net(3, 3), Net(5, 5).state_dict(), tmp_path, "body.0.weight with shape (5, 2) where"
        )

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            # a bias that fits beside weights that do not
            ({"head.bias": (3,)}, "head.weight with shape (5, 4) where (3, 4) is needed"),
            # two heads of different numbers
            ({"aux.weight": (6, 4), "aux.bias": (6,)}, "aux.weight with shape (6, 4)"),
            # other features too
            ({"head.weight": (5, 3)}, "head.weight with shape (5, 3)"),
            ({"head.bias": ()}, "head.bias with shape ()"),
            # a layer that has not as many outputs as there are classes
            ({"body.0.bias": (5,)}, "body.0.bias with shape (5,) where (4,) is needed"),
        ],
    )
    def test_layers_that_are_not_quite_one(
        self, changes: dict[str, tuple[int, ...]], message: str, tmp_path: Path
    ) -> None:
        state = Net(5).state_dict()
        state |= {name: torch.zeros(shape) for name, shape in changes.items()}
        refused(Net(3), state, tmp_path, message)

    def test_a_norm_of_as_many_features_is_none(self, tmp_path: Path) -> None:
        state = Net(4).state_dict()
        state["body.1.weight"] = torch.zeros(5)
        refused(Net(4), state, tmp_path, "body.1.weight with shape (5,) where (4,) is needed")


def refused(model: BundledModel, content: Any, folder: Path, message: str) -> str:
    """Starts from it, sees it refused with the message and the model as it was."""
    before = state_of(model)
    path = saved(content, folder / "other.pt")
    with pytest.raises(ValueError, match="does not fit") as caught:
        start_from(model, path)
    text = str(caught.value)
    assert text.startswith(f"{path} does not fit {model.info.name}: ")
    assert message in text
    check(model, before, before, ())
    return text


class TestRefused:
    def test_another_model(self, tmp_path: Path) -> None:
        state = models.build("c3d_small").state_dict()
        text = refused(
            Net(), state, tmp_path, "missing body.0.weight, body.0.bias, body.1.weight, "
        )
        assert "body.1.running_mean and 5 more; unexpected conv1.weight, " in text
        assert "conv3a.weight and " in text

    def test_up_to_five_of_each(self, tmp_path: Path) -> None:
        state = {key: torch.zeros(7, 7, 7) for key in Net().state_dict()}
        text = refused(Net(), state, tmp_path, "body.0.weight with shape (7, 7, 7) where (4, 2)")
        assert text.count("is needed") == 5
        assert text.endswith("and 6 more.")
        del state["body.0.weight"]
        assert "missing body.0.weight; body.0.bias" in refused(Net(), state, tmp_path, "missing")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({}, "it is empty"),
            ({"epoch": 3}, "it holds no state dict, since 'epoch' is 3"),
            ({"state_dict": {}, "epoch": 3}, "no state dict, since 'state_dict' is {}"),
            ({"model": {"body": {"weight": 1}}}, "no state dict, since 'body' is {'weight': 1}"),
        ],
    )
    def test_no_state_dict(self, content: Any, message: str, tmp_path: Path) -> None:
        refused(Net(), content, tmp_path, message)

    def test_files(self, tmp_path: Path) -> None:
        junk = tmp_path / "junk.safetensors"
        junk.write_bytes(b"no weights")
        with pytest.raises(ValueError, match=r"junk.safetensors cannot be read as tensors: "):
            start_from(Net(), junk)
        junk = junk.rename(tmp_path / "junk.pth")
        with pytest.raises(ValueError, match=r"junk.pth cannot be read as tensors: "):
            start_from(Net(), junk)
        with pytest.raises(ValueError, match=r"read from .safetensors, .pt, .pth, .tar, got .*bin"):
            start_from(Net(), tmp_path / "weights.bin")
        with pytest.raises(FileNotFoundError, match=r"no weights at .*absent.safetensors"):
            start_from(Net(), tmp_path / "absent.safetensors")
        with pytest.raises(FileNotFoundError, match=r"absent.pt"):
            start_from(Net(), tmp_path / "absent.pt")

    def test_code_in_a_pickle_is_not_run(self, tmp_path: Path) -> None:
        ran = tmp_path / "ran"

        class Evil:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (ran,))

        path = saved({"state_dict": Evil()}, tmp_path / "evil.pth")
        with pytest.raises(ValueError, match="cannot be read as tensors"):
            start_from(Net(), path)
        assert not ran.exists()


class TestC3D:
    @pytest.mark.parametrize("layout", ["sports1m", "finetuned", "several gpus"])
    @pytest.mark.parametrize("classes", [7, 4])
    def test_published_layouts_are_turned_to_rgb(
        self, layout: str, classes: int, tmp_path: Path
    ) -> None:
        state = published()
        content: dict[str, Any] = state
        if layout != "sports1m":
            prefix = "module." if layout == "several gpus" else ""
            content = {"state_dict": renamed(state, prefix), "opt_dict": {}}
        model = narrow(classes)
        before = state_of(model)
        fresh = start_from(model, saved(content, tmp_path / "c3d.pth.tar"))
        assert fresh == (() if classes == 7 else ("fc8.weight", "fc8.bias"))
        wanted = renamed(state)
        wanted["conv1.weight"] = wanted["conv1.weight"].flip(1)
        check(model, before, wanted, fresh)

    def test_its_own_are_in_rgb_already(self, tmp_path: Path) -> None:
        source, model = narrow(), narrow(4)
        for number, content in enumerate(
            (source.state_dict(), {"plan": {}, "model": source.state_dict(), "best_state": {}})
        ):
            before = state_of(model)
            fresh = start_from(model, saved(content, tmp_path / f"{number}.pt"))
            assert fresh == ("fc8.weight", "fc8.bias")
            check(model, before, source.state_dict(), fresh)

    def test_a_file_without_scores(self, tmp_path: Path) -> None:
        state = {k: v for k, v in published().items() if not k.startswith("classifier.6")}
        fresh = start_from(narrow(), saved(state, tmp_path / "c3d.pth"))
        assert fresh == ("fc8.weight", "fc8.bias")

    def test_what_does_not_fit(self, tmp_path: Path) -> None:
        state = published()
        del state["features.8.bias"]
        refused(narrow(), state, tmp_path, "missing conv3b.bias.")
        state["features.3.weight"] = torch.zeros(3, 2, 3, 3)
        refused(
            narrow(), state, tmp_path, "conv2.weight with shape (3, 2, 3, 3) where (3, 2, 3, 3, 3)"
        )

    def test_the_small_one_is_never_published(self, tmp_path: Path) -> None:
        source, model = models.build("c3d_small"), models.build("c3d_small")
        start_from(model, saved({"state_dict": source.state_dict()}, tmp_path / "c3d.pt"))
        assert torch.equal(model.state_dict()["conv1.weight"], source.state_dict()["conv1.weight"])


class TestCNN:
    @pytest.mark.parametrize("classifier", [True, False])
    def test_a_cnn_lstm_takes_resnet18(self, classifier: bool, tmp_path: Path) -> None:
        from torchvision.models import resnet18

        source, model = resnet18().state_dict(), models.build("cnn_lstm_attention", classes=2)
        content = {
            k: v
            for k, v in source.items()
            if not k.endswith("num_batches_tracked") and (classifier or not k.startswith("fc."))
        }
        before = state_of(model)
        fresh = start_from(model, saved(content, tmp_path / "resnet18.pth"))
        assert {name.partition(".")[0] for name in fresh} == {"lstm", "attention", "head"}
        assert set(fresh) == {k for k in before if not k.startswith("cnn.")}
        wanted = {f"cnn.{key}": value for key, value in source.items()}
        check(model, before, {**before, **wanted}, fresh)

    def test_other_weights_are_refused(self, tmp_path: Path) -> None:
        model = models.build("cnn_lstm_small")
        state = {k.removeprefix("cnn."): v for k, v in model.state_dict().items() if "cnn" in k}
        text = refused(
            model, {**state, "extra.weight": torch.zeros(1)}, tmp_path, "unexpected cnn.ext"
        )
        assert "missing" not in text
        del state["stage1.0.weight"]
        refused(model, state, tmp_path, "missing cnn.stage1.0.weight, ")

    def test_its_own_weights_are_whole(self, tmp_path: Path) -> None:
        source, model = models.build("cnn_lstm_small"), models.build("cnn_lstm_small")
        before = state_of(model)
        assert start_from(model, saved(source.state_dict(), tmp_path / "own.safetensors")) == ()
        check(model, before, source.state_dict(), ())
