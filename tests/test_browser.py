from pathlib import Path

import pytest

from tests import browser
from tests.browser import browser_page


def test_a_page_runs_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        "<p id=a>one</p><script>document.getElementById('a').textContent += '!'</script>"
    )
    with browser_page(300, 200) as page:
        page.goto(path.as_uri())
        assert page.inner_text("#a") == "one!"
        assert page.evaluate("[innerWidth, innerHeight]") == [300, 200]


def test_what_lies_inside_the_page_is_no_request() -> None:
    pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
    with browser_page() as page:
        page.set_content(f"<img src='{pixel}'><iframe srcdoc='<p>inner</p>'></iframe>")
        page.wait_for_function("document.images[0].naturalWidth == 1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("<script>console.error('spilt')</script>", "logged errors: .*spilt"),
        ("<script>nothing.here()</script>", "logged errors: .*nothing is not defined"),
    ],
)
def test_errors_are_found(content: str, told: str) -> None:
    with pytest.raises(AssertionError, match=told), browser_page() as page:
        page.set_content(content)


@pytest.mark.parametrize(
    "content",
    [
        "<img src='https://example.org/a.png'>",
        "<link rel=stylesheet href='https://example.org/a.css'>",
        "<iframe src='https://example.org/a.html'></iframe>",
        "<script>fetch('https://example.org/a.json').catch(() => 0)</script>",
    ],
)
def test_requests_are_found(content: str) -> None:
    def look() -> None:
        with browser_page() as page:
            page.set_content(content)
            page.wait_for_timeout(100)

    with pytest.raises(AssertionError, match=r"asked for \['https://example\.org/"):
        look()


def test_a_file_beside_the_page_is_a_request(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("let a = 1")
    (tmp_path / "page.html").write_text("<script src=a.js></script>")
    with pytest.raises(AssertionError, match=r"asked for .*a\.js"), browser_page() as page:
        page.goto((tmp_path / "page.html").as_uri())


def test_a_failing_test_is_not_masked() -> None:
    def look() -> None:
        with browser_page() as page:
            page.set_content("<script>nothing.here()</script>")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look()


def test_no_browser_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    with (
        pytest.raises(
            pytest.skip.Exception, match="no browser: none of chromium, chromium-browser"
        ),
        browser_page(),
    ):
        pass
