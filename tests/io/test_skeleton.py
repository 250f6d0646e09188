from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from captum_video.io import (
    KINECT_JOINTS,
    SkeletonClip,
    SkeletonError,
    joint_dimensions,
    read_skeleton,
    split_joints,
)
from tests.io.skeletons import IDS, JOINTS, pose, skeleton_lines, walk, write_skeleton

A, B, C, D = IDS[:4]


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Three frames: B alone, A and B, nobody."""
    return write_skeleton(tmp_path / "two.skeleton", [{B: pose(1)}, {A: pose(2), B: pose(3)}, {}])


def test_bodies_are_told_apart_and_in_order_of_appearance(two: Path) -> None:
    clip = read_skeleton(str(two))
    assert clip.body_ids == (B, A)
    assert clip.path == two
    assert len(clip) == 3
    assert clip.tracked.tolist() == [[True, False], [True, True], [False, False]]
    expected = np.zeros((3, 2, JOINTS, 3))
    expected[0, 0], expected[1, 1], expected[1, 0] = pose(1), pose(2), pose(3)
    assert clip.positions.dtype == torch.float32
    assert clip.positions.numpy().tolist() == expected.tolist()
    assert clip.states.dtype == torch.uint8
    assert clip.states.tolist() == (clip.tracked[..., None].int() * 2).expand(3, 2, 25).tolist()


def test_numbers_as_the_sensor_wrote_them(tmp_path: Path) -> None:
    lines = skeleton_lines([{A: pose(0)}])
    lines[4] = "0.2181153 0.1725972 -3.785547 277.419 NaN inf 519 -0.2 -1e-05 +.9 -0.06 1"
    path = tmp_path / "one.skeleton"
    path.write_text("\n".join(lines) + "\n\n \n")
    clip = read_skeleton(path)
    assert clip.positions[0, 0, 0].tolist() == [
        np.float32(x) for x in (0.2181153, 0.1725972, -3.785547)
    ]
    assert clip.states[0, 0].tolist() == [1] + 24 * [2]


def test_the_sequence_is_actor_by_actor_joint_by_joint(tmp_path: Path) -> None:
    still, moving = [pose(0), pose(0)], walk(2, start=4)
    frames = [{A: still[t], B: moving[t]} for t in range(2)]
    sequence = read_skeleton(write_skeleton(tmp_path / "x.skeleton", frames)).sequence()
    assert sequence.dtype == torch.float32
    assert sequence.shape == (150, 2)
    assert sequence.is_contiguous()
    hand = KINECT_JOINTS.index("hand_right") * 3
    for t in range(2):
        assert sequence[hand : hand + 3, t].tolist() == moving[t][11].tolist()
        assert sequence[75 + hand : 78 + hand, t].tolist() == still[t][11].tolist()
        assert sequence[:, t].tolist() == [*moving[t].flatten(), *still[t].flatten()]
    picked = sequence[joint_dimensions(["hand_right"])]
    assert torch.equal(picked, split_joints(sequence)[:, 11].flatten(0, 1))


def test_missing_actors_are_zeros(two: Path) -> None:
    sequence = read_skeleton(two).sequence(actors=3)
    assert sequence.shape == (225, 2)
    assert sequence[150:].abs().sum() == 0
    moved, stayed = split_joints(sequence)[:2]
    assert moved[..., 1].tolist() == pose(3).tolist()
    assert stayed[..., 0].abs().sum() == 0
    assert stayed[..., 1].tolist() == pose(2).tolist()
    assert read_skeleton(two).sequence(actors=1).tolist() == moved.flatten(0, 1).tolist()


def test_motion_is_the_variance_over_a_bodys_own_frames(tmp_path: Path) -> None:
    frames = [{A: pose(0)}, {A: pose(0, (3, 0, 6))}, {B: pose(7)}, {A: pose(0)}]
    clip = read_skeleton(write_skeleton(tmp_path / "x.skeleton", frames))
    # x: 0, 3, 0 has variance 2; z: 0, 6, 0 has 8
    assert clip.motion.tolist() == pytest.approx([10, 0])
    half = [{A: pose(0)}, {A: pose(0)}]
    half[1][A][:5, 0] += 2  # a fifth of the joints, with variance 1
    assert read_skeleton(write_skeleton(tmp_path / "y.skeleton", half)).motion.tolist() == [0.2]


def test_actors_are_the_long_bodies_with_most_motion(tmp_path: Path) -> None:
    steps = {A: 0.0, B: 0.25, C: 0.125}
    walks = {body: walk(12, step) for body, step in steps.items()}
    frames = [{body: walks[body][t] for body in (A, B, C)} for t in range(12)]
    for t, joints in enumerate(walk(11, 5.0)):  # most motion, but in 11 frames only
        frames[t][D] = joints
    clip = read_skeleton(write_skeleton(tmp_path / "x.skeleton", frames))
    assert clip.actors() == [1, 2]
    assert clip.actors(9) == [1, 2, 0]
    assert clip.sequence()[:, -1].tolist() == [*walks[B][-1].flatten(), *walks[C][-1].flatten()]
    frames[11][D] = pose(0)  # and now in 12
    clip = read_skeleton(write_skeleton(tmp_path / "y.skeleton", frames))
    assert clip.actors() == [3, 1]


def test_short_bodies_count_where_there_is_no_longer_one(two: Path) -> None:
    assert read_skeleton(two).actors() == [0, 1]


def test_bodies_that_move_alike_keep_their_order(tmp_path: Path) -> None:
    frames = [{C: pose(0), A: pose(1), B: pose(2)}] * 2
    assert read_skeleton(write_skeleton(tmp_path / "x.skeleton", frames)).actors() == [0, 1]


@pytest.fixture
def gaps(tmp_path: Path) -> SkeletonClip:
    """A in frames 1 and 4 of six, its joints 1 and 4 to the left; nobody in the others."""
    frames = [{A: pose(0, (t, 0, 0))} if t in (1, 4) else {} for t in range(6)]
    return read_skeleton(write_skeleton(tmp_path / "gaps.skeleton", frames))


@pytest.mark.parametrize(
    ("empty", "expected"),
    [("drop", [1, 4]), ("keep", [0, 1, 0, 0, 4, 0]), ("repeat", [1, 1, 1, 1, 4, 4])],
)
def test_empty_frames(gaps: SkeletonClip, empty: str, expected: list[int]) -> None:
    sequence = gaps.sequence(empty=empty)
    assert sequence[0].tolist() == expected  # x of the first joint
    assert (sequence[1] != 0).tolist() == [x != 0 for x in expected]


def test_frames_with_none_but_noise_are_empty(tmp_path: Path) -> None:
    frames = [{A: joints} for joints in walk(12)]
    frames.append({B: pose(5)})
    clip = read_skeleton(write_skeleton(tmp_path / "x.skeleton", frames))
    assert clip.sequence().shape == (150, 12)
    assert clip.sequence(empty="keep").shape == (150, 13)
    assert clip.sequence(empty="keep")[:, 12].abs().sum() == 0


FIT: list[tuple[str, int, list[float]]] = [
    ("pad", 5, [0, 2, 4, 4, 4]),
    ("loop", 5, [0, 2, 4, 0, 2]),
    ("resample", 5, [0, 1, 2, 3, 4]),
    ("pad", 2, [0, 2]),
    ("loop", 2, [0, 2]),
    ("resample", 2, [0, 4]),
    ("resample", 1, [0]),
    ("resample", 4, [0, 4 / 3, 8 / 3, 4]),
    *((fit, 3, [0.0, 2, 4]) for fit in ("pad", "loop", "resample")),
]


@pytest.mark.parametrize(("fit", "frames", "expected"), FIT)
def test_lengths(tmp_path: Path, fit: str, frames: int, expected: list[float]) -> None:
    path = write_skeleton(tmp_path / "x.skeleton", [{A: joints} for joints in walk(3, 2.0)])
    sequence = read_skeleton(path).sequence(frames=frames, fit=fit)
    assert sequence.shape == (150, frames)
    assert sequence[0].tolist() == pytest.approx(expected)
    assert sequence[4].tolist() == pytest.approx(frames * [0.5])


def test_an_actor_that_comes_or_goes_is_not_drawn_to_the_origin(tmp_path: Path) -> None:
    frames = [{B: pose(0)}, {A: pose(8), B: pose(4)}, {B: pose(8)}]
    clip = read_skeleton(write_skeleton(tmp_path / "x.skeleton", frames))
    sequence = clip.sequence(frames=9, fit="resample")
    assert sequence[0].tolist() == list(range(9))  # B, which moves
    assert sequence[75].tolist() == [0, 0, 8, 8, 8, 8, 0, 0, 0]


def test_a_clip_without_bodies_has_no_sequence(tmp_path: Path) -> None:
    clip = read_skeleton(write_skeleton(tmp_path / "none.skeleton", [{}, {}]))
    assert clip.positions.shape == (2, 0, JOINTS, 3)
    assert clip.motion.shape == (0,)
    with pytest.raises(SkeletonError, match=r"none\.skeleton: found no body in any of 2 frames"):
        clip.sequence()


def test_wrong_arguments(two: Path) -> None:
    clip = read_skeleton(two)
    with pytest.raises(ValueError, match="at least one actor, got 0"):
        clip.sequence(actors=0)
    with pytest.raises(ValueError, match="frames must be positive, got 0"):
        clip.sequence(frames=0)
    with pytest.raises(ValueError, match="empty must be one of drop, keep, repeat, got 'skip'"):
        clip.sequence(empty="skip")
    with pytest.raises(ValueError, match="fit must be one of pad, loop, resample, got 'stretch'"):
        clip.sequence(fit="stretch")


Change = Callable[[list[str]], object]


def put(line: int, text: str) -> Change:
    def change(lines: list[str]) -> None:
        lines[line - 1] = text

    return change


def word(line: int, number: int, text: str) -> Change:
    def change(lines: list[str]) -> None:
        words = lines[line - 1].split()
        words[number] = text
        lines[line - 1] = " ".join(words)

    return change


# two frames of A and B: line 1 frames, 2 bodies, 3 A, 4 joints, 5-29 A's, 30 B, 31, 32-56 B's,
# 57 bodies, 58 A, 59, 60-84, 85 B, 86, 87-111
BROKEN: list[tuple[Change, int, str]] = [
    (put(1, "x"), 1, "found 'x'"),
    (put(1, 20 * "1 2 "), 1, f"found '{9 * '1 2 '}1...', expected"),
    (put(1, "nan"), 1, "found 'nan', expected the number of frames"),
    (put(1, "0"), 1, "found '0', expected the number of frames, at least 1"),
    (put(1, "-2"), 1, "found '-2', expected the number of frames, at least 1"),
    (put(1, "1"), 57, "found '2', expected nothing after the last frame"),
    (put(1, "3"), 112, "the end of the file, expected the number of bodies .* frame 3 of 3"),
    (put(2, "-1"), 2, "found '-1', expected the number of bodies .0 to 6. in frame 1 of 2"),
    (put(57, "7"), 57, "found '7', expected the number of bodies .0 to 6. in frame 2 of 2"),
    (put(57, ""), 57, "found an empty line"),
    (put(3, "1 2 3"), 3, "found 3 numbers, expected 10 numbers.* body 1 of 2, frame 1 of 2"),
    (word(30, 0, "1.5"), 30, "found '1.5 0 .*, expected 10 numbers, the first a whole one"),
    (word(30, 4, "e"), 30, "body 2 of 2, frame 1 of 2"),
    (put(58, ""), 58, "found an empty line, expected 10 numbers"),
    (word(30, 0, str(A)), 30, "each body once in frame 1 of 2, and this one is there already"),
    (put(31, "24"), 31, "found '24', expected the number of joints, 25 .body 2 of 2, frame 1"),
    (put(4, "-25"), 4, "found '-25', expected the number of joints"),
    (word(5, 3, "--1"), 5, "expected the 12 numbers of spine_base .body 1 of 2, frame 1 of 2"),
    (word(88, 11, ""), 88, "found 11 numbers, expected the 12 numbers of spine_mid"),
    (put(60, "1 2 3 4 5 6 7 8 9 10 11 12 2"), 60, "found 13 numbers"),
    (put(61, ""), 61, "found an empty line, expected the 12 numbers of spine_mid"),
    (word(35, 1, "nan"), 35, r"finite x, y and z of head \(frame 1\)"),
    (word(60, 0, "-inf"), 60, r"finite x, y and z of spine_base \(frame 2\)"),
    (word(111, 2, "1e39"), 111, r"finite x, y and z of thumb_right \(frame 2\)"),
    (word(7, 11, "3"), 7, "tracking state from 0 to 2 as the last number of neck"),
    (word(7, 11, "0.5"), 7, "tracking state from 0 to 2"),
    (word(7, 0, "1_0"), 7, "found '1_0 .*numbers in plain text only"),
    (word(7, 0, "\u0663"), 7, "numbers in plain text only"),
    (put(7, "\0\0\0"), 7, r"found '\\x00\\x00\\x00', expected numbers in plain text only"),
    (lambda lines: lines.append("1"), 112, "found '1', expected nothing after the last frame"),
    (lambda lines: lines.__delitem__(slice(110, None)), 111, "the end of the file.*thumb_right"),
    (
        lambda lines: lines.__delitem__(slice(84, None)),
        85,
        "the end of.* body 2 of 2, frame 2 of 2",
    ),
    (lambda lines: lines.__delitem__(slice(85, None)), 86, "the end of.* number of joints"),
    (lambda lines: lines.__delitem__(slice(56, None)), 57, "the end of the file"),
    (lambda lines: lines.__delitem__(slice(1, None)), 2, "the end of.* in frame 1 of 2"),
    (lambda lines: lines.clear(), 1, "found an empty file, expected the number of frames"),
]


@pytest.mark.parametrize(("change", "line", "message"), BROKEN)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_broken_file_names_the_line(
    tmp_path: Path, change: Change, line: int, message: str, newline: str
) -> None:
    lines = skeleton_lines([{A: pose(0), B: pose(1)}] * 2)
    assert len(lines) == 111
    change(lines)
    path = tmp_path / "broken.skeleton"
    path.write_bytes(newline.join(lines).encode())
    with pytest.raises(SkeletonError, match=f"broken.skeleton, line {line}: .*{message}") as caught:
        read_skeleton(path)
    assert caught.value.line == line
    assert caught.value.path == path
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.skeleton"
    path.write_bytes(bytes(range(128, 256)) * 10)
    with pytest.raises(SkeletonError, match=r"line 1: found .*plain text only"):
        read_skeleton(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.skeleton"):
        read_skeleton(tmp_path / "nowhere.skeleton")
