from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from captum_video.visualization import Report
from tests.visualization.pages import content_of, frames, noise


def with_nan() -> torch.Tensor:
    broken = noise()
    broken[1, 2, 3] = float("nan")
    return broken


def alike(value: object) -> Any:
    """Two names that read the same."""
    return {"1": value, 1: value}


def report(**options: Any) -> Report:
    return Report(frames(), **options)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: report(fps=0), r"fps must be a positive number, got 0"),
        (lambda: report(fps=float("nan")), r"fps must be a positive number, got nan"),
        (lambda: report(fps=float("inf")), r"fps must be a positive number, got inf"),
        (lambda: report(max_bytes=0), r"max_bytes must be positive, got 0"),
        (lambda: report(outlier_perc=100), r"outlier_perc must lie in \[0, 100\), got 100"),
        (lambda: report(cmap="colour-blnd"), r"cmap 'colour-blnd' is no colour map.*colour-blind"),
        (lambda: report(labels=["a", "b"]), r"labels must be one per frame \(4\), got 2"),
        (lambda: report(parameters={1: 1, "1": 2}), r"two names of parameters read '1'"),
        (lambda: report().add(alike(noise())), r"two names of maps read '1': call"),
        (
            lambda: report().add(noise(), curves=alike([0] * 4)),
            r"two names of curves read '1'",
        ),
        (
            lambda: report().table("t", [{"a": 1}, {"a": 2}], targets=["left"]),
            r"targets must be one per row \(2\), got 1",
        ),
        (
            lambda: report().table("t", [{"a": 1}], targets=["lefd"]).add(noise(), "left").html(),
            r"targets of table 't' has 'lefd', which was not added\. Did you mean 'left'\?",
        ),
        (
            lambda: report().table("t", [{"a": 1}], targets=[""]).panel("p", frames()).html(),
            r"targets of table 't' has '', which was not added\. There is none\.",
        ),
        (lambda: Report(torch.zeros(4, 3, 6, 8)), r"float32"),
        (lambda: Report(torch.zeros(4, 6, 8, dtype=torch.uint8)), r"\(4, 6, 8\)"),
        (
            lambda: report().add({"total": noise(4, 6, 7)}),
            r"total has \(T, H, W\) = \(4, 6, 7\) but the frames have \(4, 6, 8\): resize",
        ),
        (
            lambda: report().add({"a": noise(), "b": noise(3)}),
            r"b has \(T, H, W\) = \(3, 6, 8\) but the frames have \(4, 6, 8\)",
        ),
        (lambda: report().add({"total": with_nan()}), r"total has 1 values that are not finite"),
        (
            lambda: report().add({"total": noise().expand(2, 1, -1, -1, -1)}),
            r"total holds 2 clips",
        ),
        (lambda: report().add({}), r"maps is empty and there are no curves"),
        (
            lambda: report().add(noise(), curves={"attention": [1.0, 2.0]}),
            r"curve 'attention' must be one finite number per frame \(4\), got shape \(2,\)",
        ),
        (
            lambda: report().add(noise(), curves={"attention": np.zeros((4, 1))}),
            r"curve 'attention' must be one finite number per frame \(4\), got shape \(4, 1\)",
        ),
        (
            lambda: report().add(noise(), curves={"attention": [0, 1, 2, float("inf")]}),
            r"curve 'attention' must be one finite number per frame",
        ),
        (
            lambda: report().add({"a": noise()}, curves={"a": [0, 1, 2, 3]}),
            r"'a' names a map and a curve",
        ),
        (
            lambda: report().add(noise(), "left").add(noise(), "left"),
            r"target 'left' was added already",
        ),
        (lambda: report().add(noise(), 3).add(noise(), "3"), r"target '3' was added already"),
        (lambda: report().add({"frames": noise()}), r"map 'frames' has the name of a panel"),
        (
            lambda: report().panel("bones", frames()).add({"bones": noise()}),
            r"map 'bones' has the name of a panel",
        ),
        (lambda: report().panel("frames", frames()), r"panel 'frames' is there already"),
        (
            lambda: report().panel("a", frames()).panel("a", frames()),
            r"panel 'a' is there already",
        ),
        (
            lambda: report().add({"a": noise()}).panel("a", frames()),
            r"panel 'a' is there already",
        ),
        (
            lambda: report().panel("a", frames(5)),
            r"panel 'a' has 5 frames but the clip has 4",
        ),
        (lambda: report().table("t", []), r"rows of table 't' must hold at least one row"),
        (lambda: report().table("t", [{}]), r"rows of table 't' must hold at least one row"),
        (
            lambda: report().table("t", [{"a": 1}, {"a": 1, "b": 2}]),
            r"row 1 of table 't' has the columns \['a', 'b'\], the first one has \['a'\]",
        ),
        (lambda: report().html(), r"nothing was added to the report"),
        (lambda: report().table("t", [{"a": 1}]).html(), r"nothing was added to the report"),
    ],
)  # fmt: skip
def test_what_is_wrong(made: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        made()


@pytest.mark.parametrize("name", ["page.txt", "page", "page.html.gz", ".html"])
def test_another_suffix(name: str) -> None:
    with pytest.raises(ValueError, match=r"path must end in \.html, got '"):
        report().add(noise()).save(name)


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match=r"cmap must be a colour map.*got int: 3"):
        report(cmap=3)
    with pytest.raises(
        TypeError, match=r"maps must be one map or a dict of maps by name, got tuple: .*_asdict"
    ):
        report().add((noise(), noise()))  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"^labels must be one per frame \(4\), got one string: 'abcd'$"
    ):
        report(labels="abcd")
    with pytest.raises(
        TypeError, match=r"^targets must be one per row \(1\), got one string: 'a'$"
    ):
        report().table("t", [{"a": 1}], targets="a")
    with pytest.raises(
        TypeError, match=r"^caption must be a text, a paragraph per line, got list: "
    ):
        report(caption=["One.", "Two."])
    with pytest.raises(
        TypeError, match=r"^parameters must be a dict of names and values, got list: \['seed'\]$"
    ):
        report(parameters=["seed"])
    with pytest.raises(TypeError, match=r"^method must be a text, got int: 3$"):
        report(method=3)


def test_a_refused_addition_leaves_the_report_as_it_was() -> None:
    page = report().add(noise(), "left")
    before = page.html()
    refused: list[dict[str, Any]] = [{"a": noise(3)}, {"a": with_nan()}, {"frames": noise()}]
    for wrong in refused:
        with pytest.raises(ValueError, match=r"a|frames"):
            page.add(wrong, "right")
    with pytest.raises(ValueError, match=r"panel"):
        page.panel("p", frames(1))
    with pytest.raises(ValueError, match=r"row"):
        page.table("t", [])
    with pytest.raises(ValueError, match=r"targets must be one per row"):
        page.table("t", [{"a": 1}], targets=[None, None])
    assert page.html() == before


def test_maps_of_zeros_warn() -> None:
    with pytest.warns(UserWarning, match="all maps of 'left' are zero: the page shows the plain"):
        page = report().add({"a": 0 * noise(), "b": 0 * noise()}, "left")
    (target,) = content_of(page.html())["targets"]
    assert target["scale"] == 0
    assert [kept["peak"] for kept in target["maps"]] == [0, 0]
    with pytest.warns(UserWarning, match="all maps of 'the clip' are zero"):
        report().add(0 * noise())


def test_each_map_of_zeros_among_others_warns() -> None:
    zero = 0 * noise()
    with pytest.warns(UserWarning, match="is zero everywhere") as caught:
        report().add({"a": noise(), "b": zero, "c": zero, "d": 1e-30 * noise()}, "left")
    assert [str(warning.message) for warning in caught] == [
        f"map '{name}' of 'left' is zero everywhere: the plain frames are shown in its place"
        for name in "bc"
    ]
    assert {warning.filename for warning in caught} == {__file__}


def test_what_is_given_later_changes_nothing() -> None:
    given, values, panel = frames(), noise().double(), frames()
    page = Report(given).add({"a": values}).panel("p", panel)
    before = page.html()
    given[:] = 0
    panel[:] = 0
    values.zero_()
    assert page.html() == before


def test_forms_of_maps_and_frames() -> None:
    values = torch.randn(3, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    forms: list[Any] = [
        values,
        values[None],
        values.double().numpy(),
        values.clone().requires_grad_(),
    ]
    pages = [report().add({"m": form}).html() for form in forms]
    alone = report().add(values.sum(0).double()).html()
    assert len({*pages[:2], pages[3]}) == 1
    first, last = (content_of(page)["targets"][0]["maps"][0] for page in (pages[0], alone))
    assert (first["name"], last["name"]) == ("m", "relevance")
    assert np.allclose(first["positive"], last["positive"], rtol=1e-6)
    turned = torch.from_numpy(frames()).permute(0, 3, 1, 2)
    assert Report(turned).add(noise()).html() == report().add(noise()).html()


def test_numbers_as_names() -> None:
    page = report(parameters={1: 2}).add({0: noise()}, 7)  # type: ignore[dict-item]
    kept = content_of(page.html())
    assert kept["parameters"] == [["1", "2"]]
    assert kept["targets"][0]["name"] == "7"
    assert kept["targets"][0]["maps"][0]["name"] == "0"


def test_the_same_report_gives_the_same_page() -> None:
    made = [report().add(noise(), "a").table("t", [{"x": 1}]).html() for _ in range(2)]
    assert made[0] == made[1]
