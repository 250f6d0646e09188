from __future__ import annotations

import math
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from captum_video.io import ClipError, resize
from models.data import KittiOdometry, KittiSnippet, drives
from models.geometry import pose_to_matrix
from models.training.odometry import MODEL, trajectory_errors
from models.view_synthesis import inverse_warp
from tests.models.data.recorded import kitti_tree as tree
from tests.models.data.recorded.kitti_tree import (
    write_drive,
    write_poses,
    write_sequence,
    write_still,
)

SIZE = (8, 12)


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """Sequences 0 to 10 of six frames each, but sequence 3 has eight."""
    for number in range(11):
        write_still(tmp_path, number, 8 if number == 3 else 6)
    return tmp_path


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, drives.Drive]:
    root = tmp_path_factory.mktemp("street")
    return root, write_drive(root, 9)


def read(root: Path, split: str = "train") -> KittiOdometry:
    return KittiOdometry(root, split, size=SIZE)


def test_a_drive_comes_back(street: tuple[Path, drives.Drive]) -> None:
    root, drive = street
    data = KittiOdometry(root, "test", size=drives.SIZE)
    assert len(data) == 4
    for index in range(4):
        found, expected = data[index], drives.cut(drive, index + 1)
        assert isinstance(found, KittiSnippet)
        assert torch.equal(found.clip, expected.clip)
        torch.testing.assert_close(found.poses, expected.poses, rtol=0, atol=1e-6)
        torch.testing.assert_close(found.before, expected.before, rtol=0, atol=1e-6)
        assert found.intrinsics.tolist() == list(drives.INTRINSICS)
        assert torch.equal(data.poses(index), found.poses)
        assert {part.dtype for part in found} == {torch.float32}
    batch = default_collate([data[index] for index in range(4)])
    errors = trajectory_errors(batch.poses, batch, batch.poses[0].double())
    assert float(errors[MODEL].max()) < 1e-6
    # camera 0 was elsewhere: the same turns, other shifts
    other = KittiOdometry(root, "test", size=drives.SIZE, camera=0)
    assert torch.equal(other[0].clip[0], other[0].clip[1])  # and is grey
    assert float((other.poses(0) - data.poses(0))[:, 3:].abs().max()) < 1e-6
    assert float((other.poses(0) - data.poses(0))[:, :3].abs().max()) > 1e-3


def test_the_true_poses_predict_the_target(street: tuple[Path, drives.Drive]) -> None:
    root, drive = street
    data = KittiOdometry(root, "test", size=drives.SIZE)
    snippet = data[1]
    depth = drive.depth[4].clamp(max=1e5)[None]
    near = (depth > 3) & (drive.kind[4] != 2)
    for number, frame in ((1, 1), (2, 3)):
        reference = snippet.clip[None, :, frame]
        found, seen = inverse_warp(
            reference, depth, snippet.poses[None, number], snippet.intrinsics[None]
        )
        target = snippet.clip[None, :, 2]
        good = seen & near
        error = (found - target).abs().mean(1)[good].mean()
        assert float(error) < 0.6 * float((reference - target).abs().mean(1)[good].mean())


def test_motion_is_of_the_camera_that_is_read(tmp_path: Path) -> None:
    # camera 0 turns on the spot: the references' coordinates are turned by a quarter about y
    cameras = torch.eye(4, dtype=torch.float64).repeat(6, 1, 1)
    quarter = pose_to_matrix(torch.tensor([0, 0, 0, 0, math.pi / 2, 0], dtype=torch.float64))
    cameras[4:] = quarter.T
    frames = torch.zeros(6, 3, *SIZE, dtype=torch.uint8)
    write_sequence(tmp_path, 0, frames, cameras, offset=(2, 1, -1))
    right = [0, 0, 0, 0, math.pi / 2, 0]
    data = KittiOdometry(tmp_path, sequences=[0], size=SIZE, camera=0)
    assert data.poses(0)[2:].tolist() == [pytest.approx(right, abs=1e-6)] * 2
    assert data.poses(0)[:2].abs().max() == 0
    # camera 2: t - R t, of t = (2, 1, -1), which R takes to (-1, 1, -2)
    right[:3] = [3, 0, 1]
    data = KittiOdometry(tmp_path, sequences=[0], size=SIZE)
    assert data.poses(0)[2:].tolist() == [pytest.approx(right, abs=1e-6)] * 2
    assert data.poses(0)[:2].abs().max() == 0


def test_intrinsics_follow_the_size(tmp_path: Path) -> None:
    # the red of a column tells its number, the green of a row
    frames = torch.zeros(6, 3, 60, 120, dtype=torch.uint8)
    frames[:, 0] = 2 * torch.arange(120)
    frames[:, 1] = 4 * torch.arange(60)[:, None]
    camera = (70.0, 80.0, 61.0, 27.0)
    write_sequence(tmp_path, 0, frames, tree.ahead(6), camera)
    data = KittiOdometry(tmp_path, sequences=(0,), size=(12, 40))
    snippet = data[0]
    assert snippet.clip.shape == (3, 5, 12, 40)
    assert torch.equal(
        snippet.clip, resize(frames[1:], (12, 40), fit="squeeze").transpose(0, 1).float() / 255
    )
    assert snippet.intrinsics.tolist() == pytest.approx([70 / 3, 16, 20, 5], rel=1e-6)
    # a ray goes through the same point of the scene before and after
    fx, fy, cx, cy = snippet.intrinsics.tolist()
    for row, column in ((3, 5), (8, 30)):
        red, green, _ = (snippet.clip[:, 0, row, column] * 255).tolist()
        assert (red / 2 - 61) / 70 == pytest.approx((column - cx) / fx, abs=0.3 / 70)
        assert (green / 4 - 27) / 80 == pytest.approx((row - cy) / fy, abs=0.2 / 80)


def test_snippets_and_splits(still: Path) -> None:
    train, validation, test = read(still), read(still, "validation"), read(still, "test")
    assert train.sequences == tuple(range(9))
    assert (validation.sequences, test.sequences) == ((10,), (9,))
    assert [train.source(index) for index in range(2, 7)] == [
        (2, 1), (3, 1), (3, 2), (3, 3), (4, 1),
    ]  # fmt: skip
    assert (len(train), len(validation), len(test)) == (11, 1, 1)
    for index in range(len(train)):
        number, first = train.source(index)
        snippet = train[index]
        levels = (snippet.clip * 255).round()[0, :, 0, 0].tolist()
        assert levels == [10 * number + first + k for k in range(5)]
        assert snippet.poses[:, 2].tolist() == pytest.approx([2, 1, -1, -2])
        assert snippet.before.tolist() == pytest.approx([0, 0, 1, 0, 0, 0])
    chosen = KittiOdometry(still, "test", sequences=(3, 0), size=SIZE, references=2, step=2)
    assert [chosen.source(index) for index in range(len(chosen))] == [
        (3, 1), (3, 3), (3, 5), (0, 1), (0, 3),
    ]  # fmt: skip
    assert chosen[1].clip.shape == (3, 3, *SIZE)
    assert chosen[1].poses[:, 2].tolist() == pytest.approx([1, -1])


def test_an_index_beyond_the_snippets_is_an_error(still: Path) -> None:
    data = read(still)
    for index in (-1, 11):
        for ask in (data.__getitem__, data.poses, data.source):
            with pytest.raises(IndexError, match=rf"index must be from 0 to 10, got {index}"):
                ask(index)
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(again[4].clip, data[4].clip)


def test_other_cameras_and_image_files(still: Path) -> None:
    images = still / "sequences" / "09" / "image_2"
    for path in list(images.glob("*.png")):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    (images / "._000000.png").write_bytes(b"")
    (images / "notes.txt").write_text("none")
    assert (read(still, "test")[0].clip * 255).round()[0, :, 0, 0].tolist() == [91, 92, 93, 94, 95]
    grey = KittiOdometry(still, "test", size=SIZE, camera=0)
    assert (grey[0].clip * 255).round()[2, :, 0, 0].tolist() == [91, 92, 93, 94, 95]


def test_the_cache_decodes_an_image_once(
    still: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = KittiOdometry(still, size=(4, 6), sequences=(3,))
    cache = tmp_path / "cache"
    data = KittiOdometry(still, size=(4, 6), sequences=(3,), cache=cache)
    for index in range(3):
        assert torch.equal(data[index].clip, plain[index].clip)
    kept = sorted(path for path in cache.rglob("*") if path.is_file())
    assert len(kept) == 7
    assert all(path.parent == cache / "03" / "image_2" for path in kept)
    times = [path.stat().st_mtime_ns for path in kept]
    monkeypatch.setattr("models.data.recorded._reading.read_clip", None)
    again = KittiOdometry(still, size=(4, 6), sequences=(3,), cache=cache)
    assert torch.equal(again[2].clip, plain[2].clip)
    assert torch.equal(again[2].intrinsics, plain[2].intrinsics)
    monkeypatch.undo()
    kept[0].write_bytes(kept[0].read_bytes()[:-3])
    assert torch.equal(again[0].clip, plain[0].clip)
    assert [path.stat().st_mtime_ns for path in kept[1:]] == times[1:]
    assert kept[0].stat().st_mtime_ns != times[0]


def test_images_that_cannot_be_read(still: Path) -> None:
    broken = still / "sequences" / "03" / "image_2" / "000006.png"
    content = broken.read_bytes()
    broken.write_bytes(content[:60])
    data = read(still)
    assert data.skipped == ()
    with pytest.raises(ClipError, match=r"image_2/000006\.png"):
        data[4]
    assert data[3].clip.shape == (3, 5, *SIZE)
    with pytest.warns(UserWarning, match="1 images cannot be read, and 2 of 11 snippets are left"):
        data = KittiOdometry(still, size=SIZE, on_error="skip")
    assert data.skipped == (broken,)
    assert [data.source(index) for index in (2, 3, 4)] == [(2, 1), (3, 1), (4, 1)]
    assert len([data[index] for index in range(len(data))]) == 9
    with pytest.raises(ValueError, match=r"No snippet is left: 1 images .*000006"):
        KittiOdometry(still, size=SIZE, sequences=[3], on_error="skip", references=6)
    broken.write_bytes(b"")
    with pytest.raises(ClipError, match=r"000006\.png: its size cannot be read"):
        read(still)[4]
    broken.write_bytes(content)
    broken.with_name("000001.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="1 images cannot be read, and 1 of 3 snippets are left"):
        data = KittiOdometry(still, size=SIZE, sequences=[3], on_error="skip")
    assert [data.source(index) for index in range(len(data))] == [(3, 2), (3, 3)]


def test_another_size(still: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = still / "sequences" / "03" / "image_2" / "000006.png"
    broken.write_bytes(b"")
    with pytest.warns(UserWarning, match="2 of 11 snippets are left out"):
        data = KittiOdometry(still, size=SIZE, on_error="skip")
    expected = KittiOdometry(still, sequences=(3,), size=(4, 24))[0]
    monkeypatch.setattr("models.data.recorded.kitti.read_cameras", None)
    for cache in (None, tmp_path / "cache"):
        other = data.at_size((4, 24), cache=cache)
        assert (len(other), other.size, other.skipped) == (9, (4, 24), (broken,))
        for found, wanted in zip(other[3], expected, strict=True):
            assert torch.equal(found, wanted)
    assert (tmp_path / "cache" / "03").is_dir()
    assert data[3].clip.shape == (3, 5, *SIZE)


def test_images_of_two_sizes(still: Path) -> None:
    odd = still / "sequences" / "00" / "image_2" / "000003.png"
    Image.new("RGB", (12, 9)).save(odd)
    text = r"000003\.png: it is 12x9 pixels where 000001\.png is 12x8"
    with pytest.raises(ClipError, match=text):
        read(still)[0]


CALIB = "sequences/00/calib.txt"
POSES = "poses/00.txt"
ONE = "1 0 0 0 0 1 0 0 0 0 1 0"


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        (CALIB, "P0: 1\nP1: 2\n", r"calib\.txt must have a line that begins with 'P2:'"),
        (CALIB, "P0: 1\nP2: 1 2 x\n", r"calib\.txt, line 2: P2 must be twelve finite .* '1 2 x'"),
        (CALIB, "P2: " + ONE.replace("1", "inf"), r"line 1: P2 must be twelve finite numbers"),
        (CALIB, "P2: -1 0 0 0 0 1 0 0 0 0 1 0", r"line 1: P2 must be fx 0 cx x .*'P2: -1 0"),
        (CALIB, "P2: 1 0 0 0 0 1 0 0 0 0 2 0", r"line 1: P2 must be fx 0 cx x"),
        (CALIB, "P2: 1 3 0 0 0 1 0 0 0 0 1 0", r"line 1: P2 must be fx 0 cx x"),
        (CALIB, "P2: 1 0 0 0 3 1 0 0 0 0 1 0", r"line 1: P2 must be fx 0 cx x"),
        (POSES, "\n".join([ONE] * 5), r"00\.txt must have a pose for each image, got 5 for 6 im"),
        (POSES, "\n".join([ONE, "1 2", *[ONE] * 4]), r"00\.txt, line 2: a pose must be twelve"),
        (POSES, "\n".join([ONE] * 4 + ["2" + ONE[1:]] * 2), r"line 5: a pose must be the rows of a"),
        (POSES, "\n".join(["-" + ONE] * 6), r"line 1: a pose must be the rows of a rotation"),
        (POSES, "\n", r"00\.txt must have a pose in each line, and is empty"),
    ],
)  # fmt: skip
def test_texts_that_are_not_as_they_should_be(
    still: Path, name: str, text: str, error: str
) -> None:
    (still / name).write_text(text)
    with pytest.raises(ValueError, match=error):
        read(still)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (CALIB, r"There is no file .*calib\.txt"),
        (POSES, r"There is no file .*00\.txt"),
        ("sequences/04", r"There is no sequence .*sequences/04; sequences=\(\.\.\.\) reads others"),
        ("sequences/00/image_2", r"There is no folder of images .*image_2"),
        (".", "root must be the folder of KITTI's odometry benchmark"),
    ],
)
def test_what_is_missing(still: Path, name: str, error: str) -> None:
    place = still / name
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(FileNotFoundError, match=error):
        read(still)


def test_images_that_are_missing_or_there_twice(still: Path) -> None:
    images = still / "sequences" / "00" / "image_2"
    (images / "000002.png").unlink()
    with pytest.raises(ValueError, match=r"from 0 to 5 without a gap, and 000002 is missing"):
        read(still)
    shutil.copy(images / "000003.png", images / "3.png")
    with pytest.raises(ValueError, match=r"once, got 000003\.png and 3\.png of number 3"):
        read(still)
    for path in images.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"image_2 holds no image such as 000000\.png"):
        read(still)


def test_too_few_images(tmp_path: Path) -> None:
    write_still(tmp_path, 0, 5)
    with pytest.raises(ValueError, match=r"Sequence 00 has 5 images, .* 4 references .* takes 6"):
        KittiOdometry(tmp_path, sequences=[0], size=SIZE)
    write_poses(tmp_path, 0, tree.ahead(5))
    assert len(KittiOdometry(tmp_path, sequences=[0], size=SIZE, references=2)) == 2


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"split": "tset"}, "split must be one of 'train', 'validation', 'test', got 'tset'"),
        ({"references": 3}, "references must be even and positive, got 3"),
        ({"references": 0}, "references must be even and positive, got 0"),
        ({"size": (0, 4)}, r"size must be a height and a width in pixels, got \(0, 4\)"),
        ({"camera": 4}, "camera must be from 0 to 3, got 4"),
        ({"step": 0}, "step must be positive, got 0"),
        ({"sequences": ()}, r"sequences must be at least one number, none twice, got \(\)"),
        ({"sequences": (1, 1)}, r"none twice, got \(1, 1\)"),
        ({"sequences": (9, 11)}, "from 0 to 10, got 11: KITTI publishes no poses of .* 11 to 21"),
        ({"sequences": (22,)}, "sequences must be from 0 to 10, got 22"),
        ({"sequences": (-1,)}, "sequences must be from 0 to 10, got -1"),
        ({"on_error": "ignore"}, "on_error must be one of 'raise', 'skip', got 'ignore'"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path: Path, given: dict, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        KittiOdometry(tmp_path, **given)


def test_a_file_for_a_root(still: Path) -> None:
    with pytest.raises(NotADirectoryError, match=r"root must be a folder, and .* is a file"):
        KittiOdometry(still / POSES)
