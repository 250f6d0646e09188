"""The folder that a diagnosis leaves: numbers, a report to read, and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from captum_video import FeatureMapDecoder
from captum_video._core.skeletons import KINECT_JOINTS
from captum_video.visualization import skeleton_strip
from models._diagnosis_compare import Gain
from models._diagnosis_evidence import SCALES
from models._diagnosis_figures import (
    amplification_figure,
    confusion_figure,
    signature_figure,
    views_figure,
)
from models._diagnosis_net import Net
from models._diagnosis_proposal import LEAST_CLIPS, MARGIN, ONE_IN, finite_mean
from models._diagnosis_results import Diagnosis, as_json, extremes
from models._tables import write_csv
from models.data.actions import Actions

GAIN_HEADER = ("class", "clips", "accuracy", "other", "difference", "low", "high", "weak")


def write_report(diagnosis: Diagnosis, net: Net, data: Actions, folder: Path) -> None:
    """Writes ``diagnosis.json``, ``report.md``, the pictures and, with another net, ``comparison.csv``.

    Args:
        diagnosis: what was found.
        net: the net, for the decoded clips.
        data: the clips.
        folder: where to.
    """
    (folder / "diagnosis.json").write_text(as_json(diagnosis), encoding="utf-8")
    for name, figure in _figures(diagnosis).items():
        figure.savefig(folder / name, dpi=110)
    strips = _strips(diagnosis, net, data, folder)
    if diagnosis.compared is not None:
        rows = [_gain_cells(row) for row in diagnosis.compared[1]]
        write_csv([GAIN_HEADER, *rows], folder / "comparison.csv")
    (folder / "report.md").write_text(report(diagnosis, strips), encoding="utf-8")


def report(diagnosis: Diagnosis, strips: Sequence[tuple[str, str]]) -> str:
    """The report.

    Args:
        diagnosis: what was found.
        strips: a sentence and the picture's file for each decoded clip.

    Returns:
        Markdown.
    """
    settings, evidence = diagnosis.settings, diagnosis.evidence
    accuracy = float((evidence.labels == evidence.predicted).double().mean())
    parts = [
        f"# Diagnosis of {settings['model']}\n\n"
        f"{settings['count']} fresh clips of {settings['frames']} frames of `models.data.Actions` "
        f"(seed {settings['seed']}), weights: {settings['weights']}. {accuracy:.1%} of the answers are "
        "right.",
        f"## Proposal\n\n{_proposal(diagnosis)}",
        f"## Classes\n\n{_classes(diagnosis)}",
        f"## Which joints layers amplify\n\n{_amplified(diagnosis)}",
        f"## Signatures of classes\n\n{_signatures(diagnosis)}",
        f"## Views\n\n{_views(diagnosis)}",
    ]
    if strips:
        shown = "\n\n".join(f"{text}\n\n![{text}]({file})" for text, file in strips)
        parts.append(
            "## Decoded clips\n\nEach row is the same clip as the layer's activations draw it, about "
            f"the mean skeleton, in the input's size.\n\n{shown}"
        )
    if diagnosis.compared is not None:
        parts.append(f"## Against {diagnosis.compared[0]}\n\n{_comparison(diagnosis)}")
    parts.append(f"## What this does not say\n\n{_LIMITS}")
    return "\n\n".join(parts) + "\n"


_LIMITS = """\
- A proposal is a guess at what to try: whether attention to these joints helps is for training to show.
- A joint's motion may tell two classes apart without a net that could learn it from so few clips,
  and another cue than motion, such as posture, is not looked at.
- A decoded sequence is a picture of a layer through the filters of the first one, not what the
  layer "knows": motion that is missing there may still be carried by other means.
- Weak classes are picked by their errors on these clips. On the same clips any other net looks a little
  better for them than it is; judge a refined net on clips of another seed."""


def _proposal(diagnosis: Diagnosis) -> str:
    proposal = diagnosis.proposal
    text = proposal.reason
    if not proposal.joints:
        return text
    table = _table(
        ("joint", "separability", "share of motion, bits", "below median, bits", "evidence", ""),
        [
            (
                row.joint, f"{row.separability:.3f}", f"{row.amplification:+.2f}",
                f"{row.lost:+.2f}", f"{row.evidence:.3f}",
                "proposed" if row.joint in proposal.target else "",
            )
            for row in proposal.joints
        ],
    )  # fmt: skip
    return (
        f"{text}\n\n{table}\n\nSeparability is the best |2 AUROC - 1| of how much the joint "
        f"moves, relative to the joint that bears it, from one window of {SCALES[0]} to {SCALES[-1]} "
        "frames to the next (the larger of a joint and its mirror image), over the confused pairs "
        f"weighted by their clips; the best joint reaches {proposal.chance:.3f} in one of {ONE_IN} "
        "shuffles of the labels, which is the chance level. The share of motion is that of the last "
        "decoded layer against the input, over the clips of the weak classes. Evidence is what exceeds "
        "the chance level, times a factor that is 1/2 for the median joint and goes to 1 for joints "
        "that are lost. No ground truth but the labels is used."
    )


def _classes(diagnosis: Diagnosis) -> str:
    rows = []
    for index, standing in enumerate(diagnosis.standings):
        wrong = diagnosis.confusion[index].tolist()
        wrong[index] = 0
        order = sorted(range(len(wrong)), key=lambda other: -wrong[other])[:3]
        mixed = ", ".join(f"{diagnosis.classes[o]} {wrong[o]}" for o in order if wrong[o])
        rows.append((
            diagnosis.classes[index], str(standing.clips), _percent(standing.accuracy),
            f"{_percent(standing.low)} to {_percent(standing.high)}",
            _percent(standing.others), "weak" if standing.weak else "", mixed,
        ))  # fmt: skip
    header = ("class", "clips", "right", "95 % interval", "others", "", "answered instead")
    return (
        f"A class is weak if its interval ends more than {MARGIN:.0%} below the mean of the other "
        f"classes; one with fewer than {LEAST_CLIPS} clips is not judged.\n\n"
        f"{_table(header, rows)}\n\n![confusion](confusion.png)"
    )


def _amplified(diagnosis: Diagnosis) -> str:
    rows = []
    for index, name in enumerate(diagnosis.classes):
        gain = diagnosis.amplification[-1, index]
        up, down = (
            ", ".join(f"{joint} {gain[KINECT_JOINTS.index(joint)]:+.1f}" for joint in joints)
            for joints in extremes(gain)
        )
        rows.append((name, up, down))
    layer = diagnosis.evidence.layers[-1]
    header = ("class", "most amplified", "most lost")
    return (
        f"In {layer}, the last decoded layer: bits by which a joint's share of all motion is larger "
        f"(+1: twice) or smaller than in the input.\n\n{_table(header, rows)}\n\n"
        "![amplification](amplification.png)"
    )


def _signatures(diagnosis: Diagnosis) -> str:
    layers = diagnosis.evidence.layers
    columns = [diagnosis.standing_of(found) for found in diagnosis.signatures]
    rows = [
        (name, *(_number(column[index]) for column in columns))
        for index, name in enumerate(diagnosis.classes)
    ]
    rows += [
        ("with accuracy (Spearman)", *(_number(v) for v in diagnosis.correlations())),
        ("mean, untrained net", *(_number(v) for v in diagnosis.control_signature)),
    ]
    return (
        "The probability that a clip's filter responses are more like those of another clip of its "
        "class than like those of a clip of another class: 0.5 is no signature, 1 a perfect one. The "
        "last rows tell how well this ranks the classes as their accuracy does, and what an untrained "
        "net of the same plan has.\n\n"
        f"{_table(('class', *layers), rows)}\n\n![signatures](signatures.png)"
    )


def _views(diagnosis: Diagnosis) -> str:
    names = ("input", *diagnosis.evidence.layers)
    rows = [
        (
            name, _number(v.ratio), _number(v.between_views), _number(v.between_performances),
            _number(control.ratio),
        )
        for name, v, control in zip(
            names, diagnosis.evidence.views, diagnosis.control.views, strict=True
        )
    ]  # fmt: skip
    header = ("layer", "ratio", "between views", "between performances", "ratio, untrained")
    return (
        "One minus the correlation between three cameras' views of one performance, and between "
        "performances seen by one camera. A smaller ratio: views have come closer. Filters smooth and "
        "mix joints, which alone may move views: the last column is an untrained net of the same "
        f"plan, on the first {len(diagnosis.control.labels)} clips, and only what is smaller than that "
        "has been learnt.\n\n"
        f"{_table(header, rows)}\n\n![views](views.png)"
    )


def _comparison(diagnosis: Diagnosis) -> str:
    assert diagnosis.compared is not None
    rows = [
        (
            row.name, str(row.clips), _percent(row.accuracy), _percent(row.other),
            f"{100 * row.difference:+.1f}", f"{100 * row.low:+.1f} to {100 * row.high:+.1f}",
            "weak" if row.weak else "",
        )
        for row in diagnosis.compared[1]
    ]  # fmt: skip
    header = ("class", "clips", diagnosis.settings["model"], "other", "difference, points",
              "95 % interval", "")  # fmt: skip
    return (
        "Both nets answer the same clips; the difference is the other net's accuracy minus that of "
        f"{diagnosis.settings['model']}, with Agresti and Min's interval for paired shares.\n\n"
        f"{_table(header, rows)}"
    )


def _figures(diagnosis: Diagnosis) -> dict[str, Figure]:
    """The pictures of numbers by file name."""
    evidence, weak = diagnosis.evidence, diagnosis.weak
    gain = diagnosis.amplification
    rest = [i for i in range(len(diagnosis.classes)) if i not in weak]
    groups = {"other classes": rest, "weak classes": weak} if weak else {"all classes": rest}
    means = {
        name: finite_mean(gain[:, chosen].transpose(0, 1))
        for name, chosen in groups.items()
        if chosen
    }
    accuracy = [standing.accuracy for standing in diagnosis.standings]
    return {
        "confusion.png": confusion_figure(diagnosis.confusion, diagnosis.classes, weak),
        "amplification.png": amplification_figure(
            means, evidence.layers, KINECT_JOINTS, diagnosis.proposal.target
        ),
        "signatures.png": signature_figure(
            diagnosis.signatures, evidence.layers, diagnosis.classes, accuracy, weak
        ),
        "views.png": views_figure(evidence.layers, evidence.views, diagnosis.control.views),
    }


def _strips(diagnosis: Diagnosis, net: Net, data: Actions, folder: Path) -> list[tuple[str, str]]:
    """Draws a clip of the best and one of the weakest class, decoded."""
    judged = [i for i, standing in enumerate(diagnosis.standings) if standing.clips]
    judged.sort(key=lambda index: -diagnosis.standings[index].accuracy)
    layers = diagnosis.evidence.layers
    shown = list(dict.fromkeys([layers[0], layers[len(layers) // 2], layers[-1]]))
    found = []
    for kind, index in (("best", judged[0]), ("weakest", judged[-1])):
        clip, right = _example(diagnosis, index, right=kind == "best")
        inputs = data[clip].clip.unsqueeze(0).to(net.mean.device)
        rows = {"input": inputs[0]}
        for layer in shown:
            decoder = FeatureMapDecoder(net, layer, scale="input", ends="held")
            rows[layer] = decoder.attribute(inputs)[0]
        name = diagnosis.classes[index]
        answer = diagnosis.classes[int(diagnosis.evidence.predicted[clip])]
        text = f"{name} ({kind} class), clip {clip}, answered " + ("right" if right else answer)
        figure, _ = skeleton_strip(rows, title=text)
        figure.savefig(folder / f"decoded_{kind}.png", dpi=110)
        found.append((text, f"decoded_{kind}.png"))
    return found


def _example(diagnosis: Diagnosis, index: int, *, right: bool) -> tuple[int, bool]:
    """The first clip of a class that is answered so, else its first; and whether it is right."""
    evidence = diagnosis.evidence
    clips = (evidence.labels == index).nonzero().flatten().tolist()
    hits = {clip: int(evidence.predicted[clip]) == index for clip in clips}
    chosen = next((clip for clip in clips if hits[clip] == right), clips[0])
    return chosen, hits[chosen]


def _gain_cells(row: Gain) -> tuple[str, ...]:
    numbers = [f"{value:.4f}" for value in row[2:7]]
    return row.name, str(row.clips), *numbers, "yes" if row.weak else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"
