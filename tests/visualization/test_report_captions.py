"""What the page says of each method, and of nothing else."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from torch import Tensor

from captum_video.cli._methods import METHODS
from captum_video.visualization import Report
from tests.visualization.pages import content_of, frames, noise
from tests.visualization.report_browser import open_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

GENERAL = "What follows from that depends on the method"
DECISION = "does not say what would happen if those pixels were changed"
COARSE = "as coarse as the layer"
ALONE = "the default rules show no evidence against it."
AGAINST = "Red counts for what was explained, blue against it"
#: phrases that only the caption of this method has, and what all of its kind say
PHRASES = {
    "discriminative-relevance": (
        "temporal relevance is what is left of the total without it",
        "blue where the still frame alone earns more than it did in the clip",
        "the split is an approximation",
        "in nets that were never trained it lies there too",
        'to be read with the seed "one"',
        DECISION,
    ),
    "deep-taylor": (
        "handed back to the pixels, layer by layer",
        "appearance from motion",
        DECISION,
    ),
    "selective-relevance": ("keeps of it what changes quickly", "not a proof", DECISION),
    "video-grad-cam": (
        "how the explained score changes",
        "appearance from motion",
        COARSE,
        AGAINST,
    ),
    "regression-grad-cam": ("Red raises it, blue lowers it.", "follows a gradient", COARSE),
    "frame-attention": (
        "After a recurrent layer the features of a frame also hold what came before",
        "the same for every class",
        "Grad-CAM marks where in the frames evidence lay",
        COARSE,
        AGAINST,
    ),
    "feature-map-decoder": ("no picture of what the decision rests on", "by the paper's decoder"),
}


def told(made: Report) -> str:
    """The words of the caption, as they stand in the file."""
    part = re.search(r'<section id="meaning">.*?</h2>(.*?)</section>', made.html(), re.S)
    assert part
    words = unescape(re.sub(r"<[^>]+>", "", part[1].replace("</p>", " "))).strip()
    assert not re.search(r"[{}]|  ", words)
    return words


def mixed() -> dict[str, Tensor]:
    return {"total": noise(), "spatial": noise(seed=1), "temporal": noise(seed=2)}


def caption(method: str, maps: Any = None, **options: Any) -> str:
    curves = {"attention": [0.1, 0.2, 0.3, 0.4]}
    made = Report(frames(), method=method, **options)
    return told(made.add(mixed() if maps is None else maps, curves=curves))


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_of_the_command_says_what_it_claims(method: str) -> None:
    words = caption(method)
    assert GENERAL not in words
    for phrase in PHRASES[method]:
        assert phrase in words
    own = PHRASES[method][0]
    assert [other for other in METHODS if own in caption(other)] == [method]


def test_any_other_method_gets_the_general_caption() -> None:
    words = caption("ours")
    assert words.startswith("The maps say what the method named below gave to each pixel")
    assert AGAINST in words
    assert GENERAL in words


@pytest.mark.parametrize(
    "method", ["deep-taylor", "selective-relevance", "discriminative-relevance"]
)
def test_no_evidence_against_is_claimed_where_none_can_show(method: str) -> None:
    rounded = noise().abs() - 1e-7 * noise().abs().max()
    positive = {"total": noise().abs(), "spatial": rounded, "temporal": noise()}
    if method != "discriminative-relevance":
        del positive["temporal"]
    words = caption(method, positive)
    start = "In total and spatial relevance red" if "temporal" in positive else "Red"
    assert f"{start} counts for what was explained; {ALONE}" in words
    assert "blue against" not in words
    words = caption(method, {**positive, "spatial": noise()})  # other rules, or another seed
    assert ALONE not in words
    assert f"{start} counts for what was explained, blue against it; with the default" in words
    assert "blue shows only where the score that is handed back is negative" in words


def test_blue_of_temporal_relevance_is_no_evidence_against() -> None:
    words = caption("discriminative-relevance")
    *_, temporal = words.split("In temporal relevance ")
    assert temporal.startswith(
        "red marks where a frame earned more in the clip than it earns alone, blue where the still "
        "frame alone earns more than it did in the clip, which is no evidence against"
    )
    for claim in ("only the motion explains", "says where motion counted"):
        assert claim not in words


@pytest.mark.parametrize(
    ("cmap", "positive", "negative"),
    [
        (None, "Red", "blue"),
        ("colour-blind", "Orange", "purple"),
        ("PRGn", "The upper end of the colours", "the lower end of the colours"),
    ],
)
def test_colours_have_the_names_of_those_in_use(
    tab: Page, tmp_path: Path, cmap: str | None, positive: str, negative: str
) -> None:
    made = Report(frames(), method="video-grad-cam", cmap=cmap).add(noise())
    start = f"{positive} counts for what was explained, {negative} against it."
    assert start in told(made)
    open_page(tab, made, tmp_path)
    assert start in tab.inner_text("#meaning")
    for name, words in (("red and blue", ("Red", "blue")), ("orange and", ("Orange", "purple"))):
        label = next(
            option
            for option in tab.locator("#palette option").all_inner_texts()
            if option.startswith(name)
        )
        tab.select_option("#palette", label=label)
        first, second = words
        told_now = tab.inner_text("#meaning")
        assert f"{first} counts for what was explained, {second} against it." in told_now
        assert start not in told_now or first == positive
    tab.select_option("#palette", index=0)
    assert start in tab.inner_text("#meaning")


def test_words_of_palettes_lie_in_the_page() -> None:
    kept = content_of(Report(frames(), cmap="coolwarm").add(noise()).html())["palettes"]
    assert {one["name"]: (one["words"]["positive"], one["words"]["Negative"]) for one in kept} == {
        "coolwarm": ("the upper end of the colours", "The lower end of the colours"),
        "red and blue": ("red", "Blue"),
        "orange and purple (colour-blind safe)": ("orange", "Purple"),
    }


@pytest.mark.parametrize("method", [*METHODS, "ours", ""])
def test_a_page_without_maps_speaks_of_no_colours(method: str) -> None:
    words = caption(method, {})
    assert not re.search(r"\b(red|blue|maps?)\b", words.replace("feature maps", ""), re.I) or (
        COARSE in words  # of Grad-CAM as such
    )
    assert "Grad-CAM" not in words or method != "frame-attention"


def test_only_what_is_there_is_named() -> None:
    nameless = told(Report(frames()).add(noise()))
    assert nameless.startswith("The maps say what a method that this page does not name gave to")
    curves = told(Report(frames(), method="ours").add({}, curves={"c": [1, 2, 3, 4]}))
    assert curves.startswith("The curves say what the method named below gave to each frame. What")
    assert "a curve alone does not prove" in curves
    assert told(Report(frames()).panel("p", frames())) == "The panels play in step with the frames."


def test_a_caption_of_ones_own_is_kept() -> None:
    own = "Red {positive} & <b>blue</b>.\nTwo."
    page = Report(frames(), method="deep-taylor", caption=own).add(noise()).html()
    assert "<p>Red {positive} &amp; &lt;b&gt;blue&lt;/b&gt;.</p><p>Two.</p>" in page
    assert "data-colour=" not in page
