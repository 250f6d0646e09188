"""The command, run in this process on small clips and nets made on the spot."""

import errno
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from captum_video import DeepTaylor, DiscriminativeRelevance, SelectiveRelevance, normalized_range
from captum_video.cli import _main, _output, main
from captum_video.cli._target import predictions
from captum_video.io import display, prepare, read_clip, write_frames, write_video
from captum_video.metrics import temporal_share

FACTORIES = '''
from types import SimpleNamespace

import torch
from torch import nn


class Net(nn.Module):
    """Two spatio-temporal convolutions and a linear layer: five outputs."""

    def __init__(self, channels=3):
        super().__init__()
        generator = torch.random.fork_rng()
        with generator:
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv3d(channels, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2),
                nn.Conv3d(4, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d((2, 2, 2)),
            )
            self.head = nn.Linear(48, 5)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def net():
    return Net()


def informed():
    model = Net()
    model.info = SimpleNamespace(
        name="informed",
        classes=("left", "right", "still", "digit 0", "left"),
        groups={"motion": range(3), "look": range(3, 5)},
        frames=4, size=(16, 16), mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2),
    )
    return model


def grey():
    model = Net(1)
    model.info = SimpleNamespace(frames=4, size=16, mean=(0.4,), std=(0.2,))
    return model


def dropping():
    return nn.Sequential(Net(), nn.Dropout(0.9))  # in training mode


def softmaxed():
    return nn.Sequential(Net(), nn.Softmax(1))


def nan():
    model = Net()
    nn.init.constant_(model.head.bias, float("nan"))
    return model


def listing():
    class Listing(nn.Module):
        def forward(self, x):
            return [x]

    return Listing()


def broken():
    raise RuntimeError("no weights in the cupboard")


def number():
    return 3


instance = Net()
constant = 3
'''
SMALL = ["--frames", "4", "--size", "16"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with clips and a module of models, which is also where the command runs."""
    (tmp_path / "tinynets.py").write_text(FACTORIES)
    (tmp_path / "brokenmodule.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "tinynets", raising=False)
    write_video("walk.mp4", moving(), 10)
    return tmp_path


def moving(frames: int = 8) -> torch.Tensor:
    """A bright square that crosses a dim texture."""
    generator = torch.Generator().manual_seed(2)
    clip = torch.randint(0, 90, (3, 24, 32), generator=generator).expand(frames, -1, -1, -1).clone()
    for t in range(frames):
        clip[t, :, 8:16, 2 * t + 2 : 2 * t + 10] = 220
    return clip.to(torch.uint8)


def explain(*arguments: str) -> int:
    return main(["explain", *arguments])


def model_of(factory: str) -> Any:
    sys.path.insert(0, os.getcwd())
    return getattr(__import__("tinynets"), factory)().eval()


def summary(name: str = "walk") -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path("explanations", name, "summary.json").read_text())
    return loaded


def test_explains_a_clip(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", "--model", "tinynets:net", *SMALL) == 0
    folder = Path("explanations/walk")
    assert sorted(os.listdir("explanations")) == ["walk"]
    assert sorted(os.listdir(folder)) == [
        "overlay.mp4", "relevance.safetensors", "strip.png", "summary.json",
    ]  # fmt: skip

    modes = {item.name: item.stat().st_mode for item in folder.iterdir()}
    assert len(set(modes.values())) == 1, "who may read differs between the files"

    # the arrays are those of the library, computed here step by step
    model = model_of("net")
    inputs = prepare(read_clip("walk.mp4"), frames=[1, 3, 5, 7], size=16)
    method = DiscriminativeRelevance(model, input_range=normalized_range(0, 1))
    target = int(model(inputs).argmax())
    parts, frozen = method.decompose(inputs, target=target, return_frozen=True)
    arrays = load_file(folder / "relevance.safetensors")
    for name in ("total", "spatial", "temporal"):
        expected = getattr(parts, name)[0]
        assert torch.allclose(arrays[name], expected, rtol=1e-4, atol=1e-6 * expected.abs().max())
    assert torch.equal(arrays["temporal"], arrays["total"] - arrays["spatial"])
    assert torch.allclose(arrays["frozen_scores"], frozen.scores[0], atol=1e-5)
    assert torch.equal(arrays["frozen_predictions"], frozen.predictions[0])
    assert np.array_equal(arrays["frames"].numpy(), display(inputs))
    assert arrays["frame_numbers"].tolist() == [1, 3, 5, 7]
    with safe_open(folder / "relevance.safetensors", "pt") as file:
        facts = file.metadata()
    assert facts["method"] == "discriminative-relevance"
    assert facts["seed"] == "one"
    assert facts["target"] == str(target)
    assert (facts["input_low"], facts["input_high"]) == ("[0.0]", "[1.0]")

    # and the summary and the text say the same
    share = temporal_share(
        DiscriminativeRelevance(model, input_range=normalized_range(0, 1), seed="score").decompose(
            inputs, target=target
        )
    )
    told = summary()
    assert told["temporal_share"] == pytest.approx(share.item(), rel=1e-4)
    assert told["frames"] == [1, 3, 5, 7]
    assert told["times"] == [0.1, 0.3, 0.5, 0.7]
    assert told["target"]["index"] == target
    assert told["target"]["score"] == pytest.approx(float(model(inputs)[0, target].detach()))
    positive = parts.temporal.sum(1).clamp(min=0).sum((0, 2, 3))
    best = told["strongest_frames"][0]
    assert best["frame"] == [1, 3, 5, 7][int(positive.argmax())]
    assert best["share"] == pytest.approx(float(positive.max() / positive.sum()), rel=1e-3)
    ranking = told["predictions"][0]["ranking"]
    chances = model(inputs).softmax(1)[0]
    assert [entry["index"] for entry in ranking] == chances.argsort(descending=True).tolist()
    assert ranking[0]["probability"] == pytest.approx(chances.max().item(), abs=1e-5)

    out, err = capsys.readouterr()
    assert f"temporal share: {told['temporal_share']:.3f}" in out
    assert f"explained: class {target}, score" in out
    assert "assuming mean 0, standard deviation 1 of values in 0..1 (give --mean, --std" in out
    assert "of 4 frozen frames are still" in out
    assert "wrote explanations/walk: overlay.mp4, strip.png" in out
    assert err == ""


def test_the_video_and_the_strip_show_all_parts() -> None:
    assert explain("walk.mp4", "--model", "tinynets:net", "--fps", "3", *SMALL) == 0
    video = read_clip("explanations/walk/overlay.mp4")
    assert len(video) == 4
    assert video.fps == pytest.approx(3)
    assert video.frames.shape[3] > 4 * 224
    strip = read_clip("explanations/walk/strip.png").frames[0].float()
    assert ((strip[0] - strip[2]) > 100).any()  # red
    assert summary()["overlay_fps"] == 3


def test_the_share_is_the_same_whatever_the_maps_start_with() -> None:
    assert explain("walk.mp4", "--model", "tinynets:net", "--seed-with", "score", *SMALL) == 0
    scored = summary()
    assert explain("walk.mp4", "--model", "tinynets:net", "--overwrite", *SMALL) == 0
    assert (scored["seed"], summary()["seed"]) == ("score", "one")
    assert summary()["temporal_share"] == pytest.approx(scored["temporal_share"], rel=1e-4)


def test_a_model_that_speaks_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--frozen-frame", "mean", "--internal-batch-size", "3", "--target", "look")
    assert explain("walk.mp4", "--model", "tinynets:informed", *options) == 0
    out = capsys.readouterr().out
    assert "assuming" not in out
    assert "predicted (motion): " in out
    assert "predicted (look): " in out

    model = model_of("informed")
    inputs = prepare(read_clip("walk.mp4"), frames=4, size=16, mean=0.4, std=0.2)
    method = DiscriminativeRelevance(model, input_range=normalized_range(0.4, 0.2))
    target = 3 + int(model(inputs)[0, 3:].argmax())
    parts = method.decompose(inputs, target=target, frozen_frame="mean")
    arrays = load_file("explanations/walk/relevance.safetensors")
    assert torch.allclose(arrays["spatial"], parts.spatial[0], atol=1e-6)
    frozen = torch.cat([inputs[:, :, t : t + 1].expand_as(inputs) for t in range(4)])
    wanted = 3 + model(frozen)[:, 3:].argmax(1)
    assert torch.equal(arrays["frozen_predictions"], wanted)
    told = summary()
    assert told["target"]["group"] == "look"
    assert told["target"]["index"] == target
    assert told["frozen_frames"]["share_predicting_target"] == float(
        (wanted == target).float().mean()
    )
    chances = model(inputs)[0, :3].softmax(0)
    assert told["predictions"][0]["ranking"][0]["probability"] == pytest.approx(
        chances.max().item(), abs=1e-5
    )


@pytest.mark.parametrize(
    ("target", "index"),
    [("2", 2), ("right", 1), ("digit 0", 3), ("look:left", 4), ("motion:left", 0)],
)
def test_targets_by_index_and_name(target: str, index: int) -> None:
    options = ("--method", "deep-taylor", "--target", target)
    assert explain("walk.mp4", "--model", "tinynets:informed", *options) == 0
    assert summary()["target"]["index"] == index


def test_predicted_is_the_first_group_s_answer() -> None:
    options = ("--method", "deep-taylor")
    assert explain("walk.mp4", "--model", "tinynets:informed", *options) == 0
    inputs = prepare(read_clip("walk.mp4"), frames=4, size=16, mean=0.4, std=0.2)
    told = summary()["target"]
    assert told["index"] == int(model_of("informed")(inputs)[0, :3].argmax())
    assert told["group"] == "motion"


@pytest.mark.parametrize("method", ["deep-taylor", "selective-relevance"])
def test_other_methods(method: str) -> None:
    options = ("--method", method, "--mean", "0.4,0.4,0.5", "--std", "0.2")
    assert explain("walk.mp4", "--model", "tinynets:net", *options, *SMALL) == 0
    inputs = prepare(read_clip("walk.mp4"), frames=4, size=16, mean=(0.4, 0.4, 0.5), std=0.2)
    model, bounds = model_of("net"), normalized_range((0.4, 0.4, 0.5), 0.2)
    taylor = DeepTaylor(model, input_range=bounds)
    expected: dict[str, Any] = {"relevance": taylor}
    if method == "selective-relevance":
        expected = {"total": taylor, "selective": SelectiveRelevance(taylor)}
    arrays = load_file("explanations/walk/relevance.safetensors")
    target = summary()["target"]["index"]
    for name, explainer in expected.items():
        assert torch.allclose(arrays[name], explainer.attribute(inputs, target)[0], atol=1e-6)
    assert summary()["temporal_share"] is None
    assert summary()["seed"] == "score"


def test_a_window_and_a_stride() -> None:
    options = ("--method", "deep-taylor", "--start", "0.2", "--end", "0.7", "--stride", "2")
    assert explain("walk.mp4", "--model", "tinynets:net", *options, *SMALL) == 0
    assert summary()["frames"] == [2, 4, 6, 6]
    assert summary()["times"] == [0.2, 0.4, 0.6, 0.6]


def test_a_grey_model_and_a_folder_of_images() -> None:
    write_frames("frames/walk.clip", moving())
    options = ("--method", "deep-taylor", "--fit", "squeeze")
    assert explain("frames/walk.clip", "--model", "tinynets:grey", *options) == 0
    arrays = load_file("explanations/walk.clip/relevance.safetensors")
    assert arrays["relevance"].shape == (1, 4, 16, 16)


def test_a_net_in_training_mode_is_evaluated() -> None:
    options = ("--method", "deep-taylor")
    assert explain("walk.mp4", "--model", "tinynets:dropping", *options, *SMALL) == 0
    first = summary()["predictions"]
    assert explain("walk.mp4", "--model", "tinynets:net", "--overwrite", *options, *SMALL) == 0
    assert summary()["predictions"] == first


def test_probabilities_are_told_from_scores() -> None:
    facts: Any = SimpleNamespace(classes=(), groups={})
    logits = torch.tensor([1.0, 3.0, 2.0])
    chances = logits.softmax(0)
    for answer in (logits, chances):
        (prediction,) = predictions(facts, answer)
        assert prediction.ranking == [1, 2, 0]
        assert prediction.probabilities == pytest.approx(chances[[1, 2, 0]].tolist())
    (single,) = predictions(facts, torch.tensor([0.3]))
    assert (single.probabilities, single.scores) == (None, [pytest.approx(0.3)])


def test_what_no_rule_covers_is_said_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", "--model", "tinynets:softmaxed", *SMALL) == 1
    err = capsys.readouterr().err
    assert "walk.mp4: UnsupportedOperationError: no relevance rule covers" in err
    assert "softmax" in err
    assert "(--traceback shows where)" in err


def test_a_still_clip_owes_nothing_to_motion(capsys: pytest.CaptureFixture[str]) -> None:
    write_video("still.mp4", moving(1).expand(6, -1, -1, -1), 10)
    assert explain("still.mp4", "--model", "tinynets:net", *SMALL) == 0
    assert summary("still")["temporal_share"] == pytest.approx(0, abs=1e-5)
    assert summary("still")["frozen_frames"]["share_predicting_target"] == 1
    assert "4 of 4 frozen frames are still class" in capsys.readouterr().out


def test_clips_that_cannot_be_read_do_not_stop_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("torn.mp4").write_bytes(Path("walk.mp4").read_bytes()[:500])
    Path("other").mkdir()
    write_video("other/walk.mp4", moving(), 10)
    clips = ("missing.mp4", "walk.mp4", "torn.mp4", "other/walk.mp4")
    options = ("--model", "tinynets:net", "--method", "deep-taylor")
    assert explain(*clips, *options, *SMALL) == 1
    assert sorted(os.listdir("explanations")) == ["walk", "walk-2"]
    out, err = capsys.readouterr()
    assert "captum-video: error: missing.mp4: there is no such file or folder" in err
    assert "captum-video: error: torn.mp4: it cannot be opened as a video" in err
    assert "2 of 4 clips could not be explained" in err
    assert "Traceback" not in err
    assert "wrote explanations/walk:" in out
    assert "wrote explanations/walk-2:" in out


def test_folder_names_never_meet(tmp_path: Path) -> None:
    clips = [Path(name) for name in ("a/walk.mp4", "b/WALK.avi", "walk-2.gif", "c/walk.webm")]
    assert _output.folder_names(clips) == ["walk", "WALK-2", "walk-2-2", "walk-3"]


def test_older_explanations_are_kept_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--model", "tinynets:net", "--method", "deep-taylor", *SMALL)
    assert explain("walk.mp4", *options) == 0
    before = Path("explanations/walk/summary.json").stat().st_mtime_ns
    assert explain("walk.mp4", *options) == 1
    assert "explanations/walk exists: give --overwrite" in capsys.readouterr().err
    assert Path("explanations/walk/summary.json").stat().st_mtime_ns == before
    Path("explanations/walk/summary.json").write_text("old")
    assert explain("walk.mp4", *options, "--overwrite") == 0
    assert summary()["method"] == "deep-taylor"
    Path("explanations/walk/thesis.tex").write_text("mine")
    assert explain("walk.mp4", *options, "--overwrite") == 1
    assert "holds files that are no explanation (thesis.tex)" in capsys.readouterr().err
    assert Path("explanations/walk/thesis.tex").read_text() == "mine"


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [(full_disk, 1, "walk.mp4: [Errno 28] No space left"), (interrupted, 130, "interrupted")],
)
def test_an_explanation_appears_whole_or_not_at_all(
    failure: Any,
    status: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--model", "tinynets:net", "--method", "deep-taylor", *SMALL)
    monkeypatch.setattr(_output, "save", failure)  # after the video and the strip
    assert explain("walk.mp4", *options) == status
    assert text in capsys.readouterr().err
    assert os.listdir("explanations") == []


def test_a_polite_kill_cleans_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def killed(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("still running")

    monkeypatch.setattr(_output, "save", killed)
    options = ("--model", "tinynets:net", "--method", "deep-taylor", *SMALL)
    assert explain("walk.mp4", *options) == 130
    assert os.listdir("explanations") == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_warnings_are_reported_once_per_clip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one(*_: object) -> bool:
        for _repeat in range(2):
            warnings.warn("the sky is low", stacklevel=1)
        return True

    monkeypatch.setattr(_main, "_one", one)
    assert explain("walk.mp4", "--model", "tinynets:net", *SMALL) == 0
    assert capsys.readouterr().err == "captum-video: warning: walk.mp4: the sky is low\n"


@pytest.mark.parametrize("form", ["plain.pt", "nested.ckpt", "wrapped.pt", "flat.safetensors"])
def test_checkpoints(form: str) -> None:
    torch.manual_seed(5)
    trained = model_of("net")
    for parameter in trained.parameters():
        nn.init.normal_(parameter, std=0.3)
    state = trained.state_dict()
    if form == "flat.safetensors":
        save_file(state, form)
    elif form == "nested.ckpt":
        torch.save({"epoch": 3, "state_dict": state}, form)
    else:
        prefix = "module." if form == "wrapped.pt" else ""
        torch.save({prefix + name: value for name, value in state.items()}, form)
    options = ("--checkpoint", form, "--method", "deep-taylor", *SMALL)
    assert explain("walk.mp4", "--model", "tinynets:net", *options) == 0
    scores = trained(prepare(read_clip("walk.mp4"), frames=4, size=16))
    assert summary()["target"]["score"] == pytest.approx(scores.max().item(), rel=1e-4)


class Evil:
    """What a checkpoint must not be able to do."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("evil"),)


def test_checkpoints_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    state = model_of("net").state_dict()
    torch.save({"head.weight": torch.zeros(7, 48), "tail": torch.zeros(1)}, "other.pt")
    torch.save(Evil(), "evil.pt")
    torch.save({"epoch": 3}, "epoch.pt")
    torch.save([1, 2], "list.pt")
    Path("text.pt").write_text("no weights")
    Path("text.safetensors").write_text("no weights")
    save_file(state, "fine.safetensors")
    for name, text in (
        ("other.pt", "5 missing: body.0.weight, body.0.bias, body.3.weight, body.3.bias, ...; "),
        ("other.pt", "1 not of the model: tail; 1 of another shape: head.weight is (7, 48)"),
        ("evil.pt", "holds more than tensors"),
        ("epoch.pt", "holds no state dict (its keys: 'epoch')"),
        ("list.pt", "holds a list, no state dict"),
        ("text.pt", "--checkpoint text.pt: it "),
        ("text.safetensors", "--checkpoint text.safetensors: it cannot be read"),
        ("missing.pt", "--checkpoint missing.pt: there is no such file"),
    ):
        assert explain("walk.mp4", "--model", "tinynets:net", "--checkpoint", name) == 2
        err = capsys.readouterr().err
        assert text in err
        assert "Traceback" not in err
    assert not Path("evil").exists()
    assert not Path("explanations").exists()


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("tinynets", "--model tinynets: must be MODULE:FACTORY"),
        ("tinynet:net", "there is no module 'tinynet'; it must be installed or lie in the current"),
        ("brokenmodule:net", "importing brokenmodule failed: No module named 'no_such_dependency'"),
        ("tinynets:Nett", "tinynets has no 'Nett'. Did you mean 'Net'"),
        ("tinynets:broken", "broken() raised RuntimeError: no weights in the cupboard"),
        ("tinynets:number", "number() returned a int, no torch.nn.Module"),
        ("tinynets:constant", "constant is a int, no factory"),
    ],
)
def test_models_that_are_none(model: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", "--model", model) == 2
    out, err = capsys.readouterr()
    assert text in err
    assert err.startswith("captum-video: error: ")
    assert "Traceback" not in err
    assert out == ""


def test_a_model_object_will_do_and_tracebacks_can_be_had(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--method", "deep-taylor")
    assert explain("walk.mp4", "--model", "tinynets:instance", *options, *SMALL) == 0
    assert explain("walk.mp4", "--model", "tinynets:broken", "--traceback") == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--method", "deep-tailor"), "no such method. Did you mean 'deep-taylor'?"),
        (("--target", "rihgt"), "--target rihgt: there is no such class. Did you mean 'right'"),
        (("--target", "left"), "2 classes have that name: say motion:left or look:left"),
        (("--target", "look:right"), "look has no class 'right'"),
        (("--target", "5"), "--target 5: the model's classes are 0 to 4"),
        (("--target", "-1"), "--target -1: there is no such class"),
        (("--frozen-frame", "mean", "--method", "deep-taylor"), "deep-taylor freezes no frames"),
        (("--device", "abacus"), "--device abacus: "),
        (("--fps", "0"), "--fps must be a positive number, got 0"),
        (("--start", "-1"), "--start must be a time in seconds >= 0, got -1"),
        (("--start", "2", "--end", "1"), "--end 1.0 must be later than --start 2.0"),
        (("--output", "walk.mp4"), "--output walk.mp4: is a file, not a folder"),
        (("--classes", "missing.txt"), "--classes missing.txt: it cannot be read"),
        (("--classes", "two.txt"), "2 class names but the model has 5 outputs"),
        (("--classes", "empty.txt"), "--classes empty.txt: the file is empty"),
        (("--std", "0"), "--std must be above zero, got 0.0"),
    ],
)
def test_wrong_usage(
    options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("two.txt").write_text("a\nb\n")
    Path("empty.txt").write_text("\n")
    assert explain("walk.mp4", "--model", "tinynets:informed", *options) == 2
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err
    assert not Path("explanations").exists()


def test_class_names_from_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", "--model", "tinynets:net", "--target", "swim", *SMALL) == 2
    assert "the model's classes have no names: give an index from 0 to 4" in capsys.readouterr().err
    Path("names.txt").write_text("run\nswim\n3\nbike\nwalk\n", encoding="utf-8")
    options = ("--classes", "names.txt", "--method", "deep-taylor", *SMALL)
    assert explain("walk.mp4", "--model", "tinynets:net", "--target", "swim", *options) == 0
    assert summary()["target"] == {**summary()["target"], "index": 1, "name": "swim"}
    assert explain("walk.mp4", "--model", "tinynets:net", "--target", "3", *options) == 2
    assert "the class of that name or of that index?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--frames", "0"), "argument --frames: must be a whole number of at least 1, got '0'"),
        (("--size", "1,2,3"), "argument --size: must be H,W such as 112,112"),
        (("--mean", "0.1,0.2"), "argument --mean: must be one number, or three"),
        (("--seed-with", "two"), "invalid choice: 'two'"),
    ],
)
def test_wrong_options(
    options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        explain("walk.mp4", "--model", "tinynets:net", *options)
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        ("net", "the model failed on an input of shape (1, 1, 4, 16, 16)"),
        ("nan", "answers NaN or infinity"),
        ("listing", "must answer a tensor (N, classes), got list"),
    ],
)
def test_models_that_cannot_take_the_clip(
    factory: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = ("--grey",) if factory == "net" else ()
    assert explain("walk.mp4", "--model", f"tinynets:{factory}", *grey, *SMALL) == 1
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err
    assert not Path("explanations").exists()


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        explain("--help")
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for option in ("--model", "--checkpoint", "--method", "--target", "--output", "--overwrite"):
        assert option in told


def test_it_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "captum_video.cli", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.startswith("captum-video 0.")
