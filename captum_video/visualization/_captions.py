"""What each method claims and what it does not, in plain words.

Colours are written ``{positive}`` and ``{negative}``, capital where a sentence begins: the page fills
in what the colours that are chosen are called.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.colors import Colormap

from captum_video.visualization._colour import COLOUR_BLIND, SIGNED, colour_map
from captum_video.visualization._report_parts import Target

_WORDS = {SIGNED.name: ("red", "blue"), COLOUR_BLIND.name: ("orange", "purple")}
_ENDS = ("the upper end of the colours", "the lower end of the colours")
_ROUNDING = 1e-6  # of the largest magnitude: what is below is no negative relevance

_COLOURS = "{Positive} counts for what was explained, {negative} against it."
_RULES = (
    "It hands one decision back to the pixels by fixed rules. It does not say what would happen if "
    "those pixels were changed, nor that the model understands what it marks."
)
_LAYER = (
    "It is as coarse as the layer it was read at: an edge in the map is no edge in the clip, and a "
    "time slice may stand for several frames."
)


@dataclass(frozen=True)
class _Added:
    """What a caption may speak of."""

    method: str
    maps: bool
    curves: bool
    against: bool  # some relevance is negative, other than temporal, which has a reason of its own


def _relevance_colours(added: _Added, positive: str = "{Positive}") -> str:
    """Of deep Taylor, whose default rules hand out what they start with, and that is a score."""
    if not added.maps:
        return ""
    if added.against:
        return (
            f"{positive} counts for what was explained, {{negative}} against it; with the default "
            "rules {negative} shows only where the score that is handed back is negative."
        )
    return (
        f"{positive} counts for what was explained; the default rules show no evidence against it."
    )


def _colours(added: _Added) -> str:
    return _COLOURS if added.maps else ""


def _discriminative(added: _Added) -> tuple[str, ...]:
    colours = (
        f"In total and spatial relevance {_relevance_colours(added, '{positive}')} In temporal "
        "relevance {positive} marks where a frame earned more in the clip than it earns alone, "
        "{negative} where the still frame alone earns more than it did in the clip, which is no "
        "evidence against what was explained.",
    )
    return (
        "Total relevance is the decision handed back to the pixels (deep Taylor). Spatial relevance "
        "is what each frame earns when it stands still for the whole clip; temporal relevance is "
        "what is left of the total without it.",
        *(colours if added.maps else ()),
        f"{_RULES} The clip and its still frames are explained one by one, so the split is an "
        "approximation. Temporal relevance on what moves does not show that the model uses the "
        "motion: in nets that were never trained it lies there too. Where it lies is to be read with "
        'the seed "one"; how much motion counted is another question, which the temporal share '
        "answers.",
    )


def _deep_taylor(added: _Added) -> tuple[str, str]:
    return (
        "Relevance is the decision handed back to the pixels, layer by layer. "
        f"{_relevance_colours(added)}",
        f"{_RULES} It does not tell appearance from motion.",
    )


def _selective(added: _Added) -> tuple[str, str]:
    return (
        "Total relevance is the decision handed back to the pixels; selective relevance keeps of it "
        f"what changes quickly from frame to frame. {_relevance_colours(added)}",
        f"{_RULES} A change of relevance in time is a sign of motion, not a proof: a flickering "
        "pattern changes too.",
    )


def _grad_cam(added: _Added) -> tuple[str, str]:
    return (
        "Grad-CAM adds up the channels of one layer, each weighed by how the explained score changes "
        f"with it: where, and when, that layer held evidence. {_colours(added)}",
        f"{_LAYER} It does not tell appearance from motion.",
    )


def _regression(added: _Added) -> tuple[str, str]:
    colours = "{Positive} raises it, {negative} lowers it." if added.maps else ""
    return (
        "Grad-CAM of a number: where, and when, one layer held what raises the objective (an output, "
        f"or a smaller error). {colours}",
        f"{_LAYER} It follows a gradient, so it is about small changes of the layer, not about "
        "removing what it marks.",
    )


def _attention(added: _Added) -> tuple[str, ...]:
    cam = (f"Grad-CAM marks where in the frames evidence lay. {_COLOURS} {_LAYER}",)
    return (
        "The attention curve is the weight that the model itself gave to each frame.",
        *(cam if added.maps else ()),
        "A weight says how much a frame's features went into the answer, not whether they spoke for "
        "it. After a recurrent layer the features of a frame also hold what came before, so a large "
        "weight may be owed to what earlier frames showed. The weights are the same for every class.",
    )


def _decoder(added: _Added) -> tuple[str, str]:
    return (
        "Each panel is what one hidden layer has made of the movement, drawn in the input's own "
        "domain by the paper's decoder.",
        "It shows what the layer's filters respond to, averaged over them; it is no picture of what "
        "the decision rests on.",
    )


def _general(added: _Added) -> tuple[str, ...]:
    if not added.maps and not added.curves:
        return ("The panels play in step with the frames.",)
    method = "the method named below" if added.method else "a method that this page does not name"
    some, each, one = (
        ("maps", "pixel of each frame", "map") if added.maps else ("curves", "frame", "curve")
    )
    return (
        f"The {some} say what {method} gave to each {each}. {_colours(added)}",
        f"What follows from that depends on the method; a {one} alone does not prove why the model "
        "decided as it did.",
    )


_CAPTIONS: Mapping[str, Callable[[_Added], tuple[str, ...]]] = {
    "discriminative-relevance": _discriminative,
    "deep-taylor": _deep_taylor,
    "selective-relevance": _selective,
    "video-grad-cam": _grad_cam,
    "regression-grad-cam": _regression,
    "frame-attention": _attention,
    "feature-map-decoder": _decoder,
}


def caption_of(method: str, targets: Sequence[Target], cmap: str | Colormap | None) -> str:
    """What a method claims and what it does not, of what a page shows.

    Args:
        method: its name in the ``captum-video`` command; a general caption for any other.
        targets: what was added to the page.
        cmap: the colours that it starts with.

    Returns:
        Paragraphs as HTML, in which ``data-colour`` marks the words of colours.
    """
    against = [
        values.min() < -_ROUNDING * abs(values).max()
        for target in targets
        for name, values in target.maps.items()
        if "temporal" not in name
    ]
    maps, curves = (any(getattr(one, kind) for one in targets) for kind in ("maps", "curves"))
    paragraphs = _CAPTIONS.get(method, _general)(_Added(method, maps, curves, any(against)))
    words = colour_words(cmap)

    def marked(found: re.Match[str]) -> str:
        return f'<span data-colour="{found[1]}">{html.escape(words[found[1]])}</span>'

    return re.sub(r"\{(\w+)\}", marked, given_caption("\n".join(map(str.strip, paragraphs))))


def given_caption(text: str) -> str:
    """A caption in words of somebody's own.

    Args:
        text: paragraphs, one per line.

    Returns:
        HTML.
    """
    return "".join(f"<p>{html.escape(part)}</p>" for part in text.split("\n") if part)


def colour_words(cmap: str | Colormap | None) -> dict[str, str]:
    """What the colours of a map are called.

    Args:
        cmap: as for :func:`overlay`.

    Returns:
        Words for what is ``"positive"`` and ``"negative"``, and the same as a sentence begins.
    """
    positive, negative = _WORDS.get(colour_map(cmap).name, _ENDS)
    words = {"positive": positive, "negative": negative}
    return words | {key.capitalize(): word[0].upper() + word[1:] for key, word in words.items()}
