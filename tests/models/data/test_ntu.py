from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from captum_video.io import SkeletonError
from models.data import NTU, NTUSample
from tests.io.skeletons import IDS, pose, skeleton_lines, walk, write_skeleton

#: of the 40 subjects, those that do not train
HELD_OUT = [3, 6, 7, 10, 11, 12, 20, 21, 22, 23, 24, 26, 29, 30, 32, 33, 36, 37, 39, 40]


def name(camera: int = 1, subject: int = 1, action: int = 1, setup: int = 1, take: int = 1) -> str:
    return f"S{setup:03}C{camera:03}P{subject:03}R{take:03}A{action:03}"


def touch(root: Path, *names: str) -> Path:
    for stem in names:
        write_skeleton(root / f"{stem}.skeleton", [{IDS[0]: pose(1)}])
    return root


@pytest.fixture
def subjects(tmp_path: Path) -> Path:
    return touch(tmp_path, *(name(camera=s % 3 + 1, subject=s) for s in range(1, 41)))


def samples(data: NTU) -> list[NTUSample]:
    return [data[index] for index in range(len(data))]


def stems(data: NTU) -> list[str]:
    return [path.stem for path in data.files]


def test_relative_places_outlive_another_working_directory(
    subjects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (subjects / "elsewhere").mkdir()
    monkeypatch.chdir(subjects)
    data = NTU(".")
    monkeypatch.chdir("elsewhere")
    assert data[0].subject == 9  # the first that trains of those whom camera 1 saw


def test_the_other_half_of_a_mac_s_files_is_passed_over(subjects: Path) -> None:
    expected = stems(NTU(subjects))
    for path in list(subjects.iterdir()):
        (subjects / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert stems(NTU(subjects)) == expected


def test_cross_subject(subjects: Path) -> None:
    train, held_out = NTU(subjects), NTU(str(subjects), "validation")
    assert len(train) == len(held_out) == 20
    assert [sample.subject for sample in samples(held_out)] == sorted(
        HELD_OUT, key=lambda subject: (subject % 3, subject)
    )
    assert {sample.subject for sample in samples(train)} == set(range(1, 41)) - set(HELD_OUT)
    assert stems(NTU(subjects, "test")) == stems(held_out)


def test_cross_view(subjects: Path) -> None:
    train = NTU(subjects, protocol="cross-view")
    held_out = NTU(subjects, "validation", "cross-view")
    assert {sample.camera for sample in samples(train)} == {2, 3}
    assert {sample.camera for sample in samples(held_out)} == {1}
    assert len(train) + len(held_out) == 40
    assert [sample.subject for sample in samples(held_out)] == list(range(3, 41, 3))


def test_a_sample(tmp_path: Path) -> None:
    frames = [{IDS[0]: pose(2), IDS[1]: joints} for joints in walk(3)]
    write_skeleton(tmp_path / "a" / "b" / f"{name(3, 38, 27, setup=17, take=2)}.skeleton", frames)
    data = NTU(tmp_path, frames=5)
    sample = data[0]
    assert isinstance(sample, NTUSample)
    assert sample[1:] == (26, 3, 38)
    assert data.classes[sample.action] == "jump up"
    assert data.labels(0) == (26,)
    assert sample.clip.dtype == torch.float32
    assert sample.clip.shape == (150, 5)
    assert sample.clip[0].tolist() == [0, 0.25, 0.5, 0.5, 0.5]
    assert sample.clip[75:, 4].tolist() == pose(2).flatten().tolist()
    assert NTU(tmp_path)[0].clip.shape == (150, 300)
    assert NTU(tmp_path, frames=None)[0].clip.shape == (150, 3)


def test_sixty_actions() -> None:
    assert len(set(NTU.classes)) == 60
    assert NTU.groups == {"action": range(60)}
    places = {1: "drink water", 10: "clapping", 22: "cheer up", 43: "falling", 50: "punching"}
    places |= {33: "check time", 60: "walking apart from each other", 58: "handshaking"}
    assert all(NTU.classes[number - 1].startswith(text) for number, text in places.items())


def test_files_are_read_when_asked_for_and_travel_to_workers(subjects: Path) -> None:
    data = NTU(subjects, frames=4)
    copy = pickle.loads(pickle.dumps(data))
    assert stems(copy) == stems(data)
    assert torch.equal(copy[3].clip, data[3].clip)
    batch = next(iter(DataLoader(data, batch_size=20)))
    assert batch.clip.shape == (20, 150, 4)
    assert batch.subject.tolist() == [sample.subject for sample in samples(data)]
    data.files[2].unlink()
    assert data.labels(2) == (0,)
    with pytest.raises(FileNotFoundError, match=data.files[2].name):
        data[2]


PUBLISHED = """2 of the captured samples in the "NTU RGB+D" dataset have missing skeleton data.
Please ignore these files.

{}
{}
"""


def test_samples_of_the_missing_list_are_left_out(tmp_path: Path) -> None:
    names = [name(subject=s) for s in (1, 2, 4)]
    root = touch(tmp_path / "data", *names)
    listed = tmp_path / "missing.txt"
    listed.write_text(PUBLISHED.format(names[1], name(3, 3, 3)))
    assert stems(NTU(root, missing=listed)) == [names[0], names[2]]
    assert stems(NTU(root, missing=str(listed))) == [names[0], names[2]]
    assert stems(NTU(root, missing=iter([names[0], f"{names[2]}.skeleton"]))) == [names[1]]
    assert stems(NTU(root, missing=[])) == names
    listed.write_text("none")
    with pytest.raises(ValueError, match=r"missing must name samples .*missing\.txt has none"):
        NTU(root, missing=listed)
    with pytest.raises(ValueError, match=r"missing must name samples .*, got S1, x\."):
        NTU(root, missing=[names[0], "x", "S1"])
    with pytest.raises(FileNotFoundError):
        NTU(root, missing=tmp_path / "nowhere.txt")


def broken(tmp_path: Path) -> Path:
    """Three samples: a good one, one that is cut short, one without bodies."""
    root = touch(tmp_path, name(action=1))
    lines = skeleton_lines([{IDS[0]: pose(0)}])
    (root / f"{name(action=2)}.skeleton").write_text("\n".join(lines[:20]))
    write_skeleton(root / f"{name(action=3)}.skeleton", [{}, {}])
    return root


def test_a_damaged_file_is_an_error_when_it_is_asked_for(tmp_path: Path) -> None:
    data = NTU(broken(tmp_path))
    assert len(data) == 3
    assert data[0].action == 0
    with pytest.raises(SkeletonError, match=r"A002\.skeleton, line 21: found the end of the file"):
        data[1]
    with pytest.raises(SkeletonError, match=r"A003\.skeleton: found no body in any of 2 frames"):
        data[2]


def test_damaged_files_can_be_left_out(tmp_path: Path) -> None:
    root = broken(tmp_path)
    with pytest.warns(
        UserWarning, match=r"2 of 3 samples cannot be read .*A002.*line 21.*A003"
    ) as w:
        data = NTU(root, on_error="skip")
    assert w[0].filename == __file__
    assert stems(data) == [name()]
    assert [path.stem for path in data.skipped] == [name(action=2), name(action=3)]
    (root / f"{name()}.skeleton").write_text("")
    with (
        pytest.warns(UserWarning, match="3 of 3 samples"),
        pytest.raises(ValueError, match=r"None of the 3 samples .* is left for the train split"),
    ):
        NTU(root, on_error="skip")


def test_nothing_is_skipped_in_a_sound_folder(subjects: Path) -> None:
    data = NTU(subjects, on_error="skip")
    assert len(data) == 20
    assert data.skipped == ()


def test_folders_that_are_not_the_data_set(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root must be the folder .*nowhere"):
        NTU(tmp_path / "nowhere")
    file = tmp_path / "file.txt"
    file.write_text("")
    with pytest.raises(
        NotADirectoryError, match=r"root must be a folder, and .*file\.txt is a file"
    ):
        NTU(file)
    with pytest.raises(ValueError, match=r"There is no file SsssCcccPpppRrrrAaaa\.skeleton in"):
        NTU(tmp_path)


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        ("S001C001P001R001", r"must be named SsssCcccPpppRrrrAaaa\.skeleton, got .*R001\.skeleton"),
        (name() + "_rgb", "must be named"),
        (name(action=61), "NTU RGB.D's actions are 1 to 60, got 61 in .*A061"),
        (name(action=0), "actions are 1 to 60, got 0"),
        (name(subject=41), "subjects are 1 to 40, got 41"),
        (name(camera=4), "cameras are 1 to 3, got 4"),
    ],
)
def test_names_that_are_none(tmp_path: Path, stem: str, message: str) -> None:
    touch(tmp_path, name(), stem)
    with pytest.raises(ValueError, match=message):
        NTU(tmp_path)


def test_only_a_few_misnamed_files_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"x{k}" for k in range(9)))
    with pytest.raises(ValueError, match=r"x0\.skeleton, .*x4\.skeleton and 4 more\.$"):
        NTU(tmp_path)


def test_a_sample_that_is_there_twice(tmp_path: Path) -> None:
    touch(tmp_path / "a", name())
    touch(tmp_path / "b", name())
    with pytest.raises(ValueError, match=r"A sample must be there once, got .*/a/.* and .*/b/"):
        NTU(tmp_path)


def test_samples_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    touch(tmp_path / "a", name(action=5))
    touch(tmp_path / "b", name(action=2))
    assert stems(NTU(tmp_path)) == [name(action=2), name(action=5)]


def test_wrong_arguments(tmp_path: Path) -> None:
    touch(tmp_path, name())
    with pytest.raises(ValueError, match=r"split must be one of 'train', .*, got 'val'"):
        NTU(tmp_path, "val")
    with pytest.raises(ValueError, match=r"protocol must be one of 'cross-subject', .*, got 'CS'"):
        NTU(tmp_path, protocol="CS")
    with pytest.raises(ValueError, match="on_error must be one of 'raise', 'skip', got 'ignore'"):
        NTU(tmp_path, on_error="ignore")
    with pytest.raises(ValueError, match="frames must be positive, got 0"):
        NTU(tmp_path, frames=0)
    with pytest.raises(ValueError, match=r"None of the 1 samples in .* is left for the validation"):
        NTU(tmp_path, "validation")
    with pytest.raises(IndexError, match="index must be from 0 to 0, got 1"):
        NTU(tmp_path)[1]
    with pytest.raises(IndexError, match="index must be from 0 to 0, got -1"):
        NTU(tmp_path).labels(-1)
