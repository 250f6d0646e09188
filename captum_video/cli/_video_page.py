"""The page that plays an explanation of a video."""

from __future__ import annotations

from captum_video.cli._kind import Result
from captum_video.cli._page import new_report, note_of, target_name
from captum_video.cli._report import LABELS
from captum_video.cli._video import Video
from captum_video.visualization import Report


def page(result: Result[Video], rate: float) -> Report:
    """A page with the frames and all maps of all explained classes.

    Args:
        result: what came of a clip.
        rate: frames per second.

    Returns:
        The page.
    """
    source, attention = result.source, result.explanation.attention
    report = new_report(result, source.pictures, rate, source.numbers, source.clip.path)
    for told in (result, *result.others):
        maps = {LABELS.get(name, name): values for name, values in told.explanation.maps.items()}
        report.add(
            maps,
            target_name(told) if maps else "",
            curves=None if attention is None else {"attention": attention.weights},
            note=note_of(told),
        )
    return report
