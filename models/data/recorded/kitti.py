"""KITTI odometry: snippets of drives with the camera's true motion. Nothing is downloaded.

Geiger, Lenz, Urtasun: Are we ready for Autonomous Driving? The KITTI Vision Benchmark Suite. CVPR 2012.
Paper 4 shows explanations on sequence 9.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from captum_video.io import ClipError, read_clip, resize
from models.data.recorded._cache import cached_frames
from models.data.recorded._kitti_files import (
    find_images,
    image_size,
    read_calibration,
    read_cameras,
)
from models.data.recorded._places import check_split, folder, some
from models.data.recorded._reading import Reading
from models.geometry import matrix_to_pose, scale_intrinsics

#: sequences by split; SfMLearner (Zhou et al. 2017) trains on 0 to 8 and tests on 9 and on 10
SEQUENCES: Mapping[str, tuple[int, ...]] = {
    "train": tuple(range(9)),
    "validation": (10,),
    "test": (9,),
}
_LAST, _LAST_WITH_POSES = 21, 10
_CAMERAS = range(4)


class KittiSnippet(NamedTuple):
    """Consecutive frames with the truth about them.

    Attributes:
        clip: ``(3, R + 1, H, W)`` float32 in [0, 1], the target in the middle.
        poses: ``(R, 6)`` float32, the true poses from the target to each other frame, as
            ``models.geometry`` has them, in metres and radians.
        before: ``(6,)`` float32, the true pose from the first frame to the one before the snippet.
        intrinsics: ``(4,)`` float32, ``fx, fy, cx, cy`` in pixels of the clip, the first pixel's
            middle at 0.
    """

    clip: Tensor
    poses: Tensor
    before: Tensor
    intrinsics: Tensor


@final
class KittiOdometry(Dataset[KittiSnippet]):
    """Snippets of the sequences with known motion, each read when it is asked for.

    The folder is as the archives make it, ``sequences/00/image_2/000000.png``,
    ``sequences/00/calib.txt`` and ``poses/00.txt``. Images may be JPEG files too. A frame precedes
    each snippet, so that the motion before it is known.

    The poses on disk are of camera 0. Rectified cameras look the same way from different places, so
    that their motions differ by turns times the distance: poses are of the camera that is read.

    Args:
        root: the folder that holds ``sequences`` and ``poses``; the archives call it ``dataset``.
        split: ``"train"`` (sequences 0 to 8), ``"validation"`` (10) or ``"test"`` (9).
        references: frames in a snippet beside the target; even.
        size: height and width of the clips; images are squeezed to it.
        camera: 0 or 1, the grey ones, 2 or 3, those in colour; 0 and 2 on the left.
        sequences: numbers from 0 to 10 in place of the split's.
        step: frames from one snippet to the next.
        cache: a folder for resized frames, where each image is decoded once: it takes
            ``3 * height * width`` bytes per image. The samples are the same with it as without;
            ``None`` for none.
        on_error: ``"raise"``: an image that cannot be read is an error when it is asked for.
            ``"skip"``: all images are read once now (this fills the cache, if there is one), and
            snippets that need such an image are left out with a warning.

    Attributes:
        sequences: numbers of the sequences.
        skipped: images that could not be read, if ``on_error="skip"``.

    Raises:
        FileNotFoundError: the folder, one of a sequence, its calibration or its poses are missing.
        NotADirectoryError: ``root`` or ``cache`` is a file.
        ValueError: an argument makes no sense; sequences 11 to 21, which have no poses; a file that
            is not as it should be, images with a gap or another number than poses, too few of them,
            or no snippet that can be read.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        references: int = 4,
        size: tuple[int, int] = (128, 416),
        camera: int = 2,
        sequences: Iterable[int] | None = None,
        step: int = 1,
        cache: str | os.PathLike[str] | None = None,
        on_error: str = "raise",
    ) -> None:
        check_split(split)
        if references < 2 or references % 2:
            raise ValueError(f"references must be even and positive, got {references}.")
        if step < 1:
            raise ValueError(f"step must be positive, got {step}.")
        if camera not in _CAMERAS:
            raise ValueError(f"camera must be from 0 to {_CAMERAS[-1]}, got {camera}.")
        self.root = Path(root)
        self.split = split
        self.references = references
        self.camera = camera
        self.sequences = _numbers(SEQUENCES[split] if sequences is None else sequences)
        self._reading = Reading(
            frames=1, size=size, cache=None if cache is None else Path(cache), on_error=on_error
        )
        self.size = self._reading.size
        folder(self.root, "KITTI's odometry benchmark, with sequences and poses")
        self._tracks = {number: self._track(number) for number in self.sequences}
        self._starts = [
            (number, first)
            for number, track in self._tracks.items()
            for first in range(1, len(track.images) - references, step)
        ]
        self.skipped: tuple[Path, ...] = ()
        if on_error == "skip":
            self._skip()

    def __len__(self) -> int:
        """The number of snippets."""
        return len(self._starts)

    def __getitem__(self, index: int) -> KittiSnippet:
        """Reads one snippet.

        Args:
            index: from 0 to ``len(self) - 1``, in the order of sequences and frames.

        Returns:
            The snippet with its truth.

        Raises:
            IndexError: for another index.
            ClipError: an image is missing or damaged, or of another size than the one before it.
        """
        number, first = self.source(index)
        track = self._tracks[number]
        paths = [track.folder / name for name in track.images[first : first + self.references + 1]]
        own = image_size(paths[0])
        for path in paths:
            size = image_size(path)
            if size != own:
                raise ClipError(
                    path,
                    f"it is {size[1]}x{size[0]} pixels where {paths[0].name} is {own[1]}x{own[0]}",
                    "All images of a sequence must have the same size",
                )
        frames = torch.cat([self._frame(number, path) for path in paths])
        before = torch.linalg.solve(track.cameras[first - 1], track.cameras[first])
        return KittiSnippet(
            clip=frames.transpose(0, 1).float().div_(255).contiguous(),
            poses=self.poses(index),
            before=matrix_to_pose(before).float(),
            intrinsics=torch.tensor(scale_intrinsics(track.intrinsics, own, self.size)),
        )

    def poses(self, index: int) -> Tensor:
        """The true poses of a snippet, without reading its images.

        Args:
            index: as for the snippet.

        Returns:
            ``(references, 6)`` float32.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        number, first = self.source(index)
        cameras = self._tracks[number].cameras[first : first + self.references + 1]
        target = self.references // 2
        others = torch.cat([cameras[:target], cameras[target + 1 :]])
        return matrix_to_pose(torch.linalg.solve(others, cameras[target].expand_as(others))).float()

    def source(self, index: int) -> tuple[int, int]:
        """Where a snippet comes from.

        Args:
            index: as for the snippet.

        Returns:
            The sequence's number and the snippet's first frame.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index must be from 0 to {len(self) - 1}, got {index}.")
        return self._starts[index]

    def at_size(
        self, size: tuple[int, int], *, cache: str | os.PathLike[str] | None = None
    ) -> KittiOdometry:
        """The same snippets at another size, without looking through the files again.

        Args:
            size: height and width of the clips.
            cache: as for the class.

        Returns:
            A new data set.

        Raises:
            NotADirectoryError: ``cache`` is a file.
            ValueError: a size that makes no sense.
        """
        other = copy.copy(self)
        other._reading = replace(
            self._reading, size=size, cache=None if cache is None else Path(cache)
        )
        other.size = other._reading.size
        return other

    def _track(self, number: int) -> _Track:
        """A sequence's files, looked through."""
        name = f"{number:02d}"
        # absolute, so that it is found when the working directory changes
        place = self.root.absolute() / "sequences" / name
        if not place.is_dir():
            raise FileNotFoundError(
                f"There is no sequence {place}; sequences=(...) reads others than the "
                f"{self.split} split's."
            )
        images = find_images(place / f"image_{self.camera}")
        calibration = read_calibration(place / "calib.txt", self.camera)
        truth = self.root / "poses" / f"{name}.txt"
        cameras = read_cameras(truth)
        if len(cameras) != len(images):
            raise ValueError(
                f"{truth} must have a pose for each image, got {len(cameras)} for "
                f"{len(images)} images."
            )
        if len(images) < self.references + 2:
            raise ValueError(
                f"Sequence {name} has {len(images)} images, and a snippet with {self.references} "
                f"references and the frame before it takes {self.references + 2}."
            )
        to_camera_0 = torch.eye(4, dtype=torch.float64)
        to_camera_0[:3, 3] = -calibration.offset
        return _Track(
            place / f"image_{self.camera}", images, cameras @ to_camera_0, calibration.intrinsics
        )

    def _frame(self, number: int, path: Path) -> Tensor:
        """A resized image, ``(1, 3, H, W)`` uint8."""
        if self._reading.cache is None:
            return resize(read_clip(path).frames, self.size, fit="squeeze")
        name = Path(f"{number:02d}", path.parent.name, path.name)
        return cached_frames(path, name, self._reading, None)

    def _skip(self) -> None:
        """Leaves out the snippets that need an image that cannot be read."""
        reasons: dict[Path, str] = {}
        bad: set[tuple[int, int]] = set()
        for number, track in self._tracks.items():
            for place, name in enumerate(track.images):
                try:
                    self._frame(number, track.folder / name)
                except ClipError as error:
                    reasons[track.folder / name] = str(error)
                    bad.add((number, place))
        total = len(self._starts)
        self._starts = [
            (number, first)
            for number, first in self._starts
            if all((number, first + k) not in bad for k in range(self.references + 1))
        ]
        self.skipped = tuple(reasons)
        if reasons:
            what = (
                f"{len(reasons)} images cannot be read, and {total - len(self)} of {total} snippets "
                f"are left out: {some(reasons.values())}"
            )
            if not self._starts:
                raise ValueError(f"No snippet is left: {what}")
            warnings.warn(what, stacklevel=3)


class _Track(NamedTuple):
    """A sequence: its images, its camera's places ``(images, 4, 4)``, and its intrinsics."""

    folder: Path
    images: tuple[str, ...]
    cameras: Tensor
    intrinsics: tuple[float, float, float, float]


def _numbers(sequences: Iterable[int]) -> tuple[int, ...]:
    """The numbers of sequences with known motion."""
    numbers = tuple(sequences)
    if not numbers or len(set(numbers)) != len(numbers):
        raise ValueError(f"sequences must be at least one number, none twice, got {numbers}.")
    for number in numbers:
        if _LAST_WITH_POSES < number <= _LAST:
            raise ValueError(
                f"sequences must be from 0 to {_LAST_WITH_POSES}, got {number}: KITTI publishes no "
                f"poses of sequences {_LAST_WITH_POSES + 1} to {_LAST}."
            )
        if not 0 <= number <= _LAST_WITH_POSES:
            raise ValueError(f"sequences must be from 0 to {_LAST_WITH_POSES}, got {number}.")
    return numbers
