"""The figure of the fusion study: probabilities against depth, as in the paper's figures 2 to 6."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from captum_video._core.files import written_whole
from captum_video.visualization import fusion_probabilities
from models._fusion_study_cells import RESOLUTIONS, TASKS
from models._fusion_study_report import UNITS, Outcomes, fusion
from models.data.look_or_motion import FRAMES, HALVED_FRAMES

TITLES = {"full": f"{FRAMES} frames", "halved": f"{HALVED_FRAMES} frames"}


def draw(outcomes: Outcomes) -> Figure:
    """Draws the probabilities of all units.

    Args:
        outcomes: by cell, at least one of a template.

    Returns:
        A panel for each task and resolution, with all its seeds.
    """
    panels = {}
    for resolution in RESOLUTIONS:
        for task in TASKS:
            runs = fusion(outcomes, task, resolution).values()
            if runs:
                panels[f"{task}, {TITLES[resolution]}"] = [
                    {
                        layer.removesuffix(".unit"): {unit: row[unit] for unit in UNITS}
                        for layer, row in run.keep.items()
                    }
                    for run in runs
                ]
    return fusion_probabilities(panels)[0]


def write_figure(outcomes: Outcomes, path: Path) -> None:
    """Draws the figure into a file.

    Args:
        outcomes: by cell, at least one of a template.
        path: where to; the suffix names the format.
    """
    with written_whole(path) as part:
        draw(outcomes).savefig(part, dpi=110)
