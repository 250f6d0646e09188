"""The log of a training run: a file of JSON lines, and TensorBoard beside it where there is one."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, final

from captum_video._core.files import written_whole


@final
class Log:
    """What is noted of a run while it trains, one JSON object for each validation.

    A line is on its way to the disk when :meth:`write` returns. Of a killed run the last line may be
    cut short; reading leaves it out. Nothing is written before :meth:`begin`.

    Args:
        folder: the run's folder; ``log.jsonl`` in it has the lines, ``tensorboard`` the events.
        tensorboard: whether TensorBoard gets the numbers too; ``None`` for where it is installed.

    Attributes:
        path: the file of lines.

    Raises:
        ImportError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, *, tensorboard: bool | None = None) -> None:
        self.path = folder / "log.jsonl"
        self._events = folder / "tensorboard"
        self._tensorboard = tensorboard
        self._begun = False
        self._writer: Any = None
        if tensorboard:
            _summary_writer(required=True)

    def begin(self, step: int) -> None:
        """Makes ready for the lines after a step; those of later steps go, since they are redone.

        Args:
            step: the steps done; 0 begins a new log in place of an older one.

        Raises:
            ValueError: the file to go on with is no training log.
        """
        self.close()
        kept = [line for line in self.lines() if line["step"] <= step] if step else []
        make = None
        if self._tensorboard is not False:
            make = _summary_writer(required=False)
        with written_whole(self.path) as part:
            part.write_text(as_text(kept), encoding="utf-8")
        if not step:
            for old in self._events.glob("events.out.tfevents.*"):
                old.unlink()
        if make is not None:
            # events of this step and later ones that an earlier attempt left are not shown
            self._writer = make(log_dir=str(self._events), purge_step=step + 1 if step else None)
        self._begun = True

    def write(self, line: Mapping[str, Any]) -> None:
        """Appends a line.

        Args:
            line: plain values by name, among them ``step``. JSON has no word for numbers that are
                not finite: they become ``null``, and TensorBoard does not get them.

        Raises:
            RuntimeError: the log is not begun.
            ValueError: the line does not say its step.
        """
        if not self._begun:
            raise RuntimeError(f"The log {self.path} is not begun: call begin(step) first.")
        if not _is_step(line.get("step")):
            raise ValueError(f"A line of the log must have an integer 'step', got {dict(line)}.")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(as_text([line]))
        if self._writer is not None:
            for key, value in line.items():
                if key != "step" and is_number(value):
                    self._writer.add_scalar(key, value, global_step=line["step"])
            self._writer.flush()

    def lines(self) -> list[dict[str, Any]]:
        """The lines that are whole.

        Returns:
            The lines, first to last; none where there is no file.

        Raises:
            ValueError: the file is no training log.
        """
        if not self.path.exists():
            return []
        found: list[dict[str, Any]] = []
        texts = self.path.read_bytes().splitlines()
        for number, text in enumerate(texts, 1):
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if isinstance(line, dict) and _is_step(line.get("step")):
                found.append(line)
            elif number < len(texts):
                raise ValueError(
                    f"{self.path} is no training log: line {number} must be a JSON object with an "
                    f"integer 'step', got {text[:60]!r}."
                )
        return found

    def close(self) -> None:
        """Ends TensorBoard's file; the log can be begun again."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._begun = None, False


def as_text(lines: Iterable[Mapping[str, Any]]) -> str:
    """Lines of a log as strict JSON, one object to a line.

    Args:
        lines: plain values by name.

    Returns:
        The text; ``null`` stands for numbers that are not finite.
    """
    return "".join(
        json.dumps({key: _plain(value) for key, value in line.items()}, allow_nan=False) + "\n"
        for line in lines
    )


def is_number(value: object) -> bool:
    """Whether a value of a line is a number, and finite.

    Args:
        value: anything.

    Returns:
        Whether it is; ``True`` and ``False`` are none.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_step(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _summary_writer(*, required: bool) -> Callable[..., Any] | None:
    """TensorBoard's writer, or None where it is not installed and not required."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its imports' deprecations are not the user's
            from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        if required:
            raise ImportError(
                "tensorboard=True needs the package tensorboard, which is not installed: "
                "pip install tensorboard"
            ) from error
        return None
    except Exception as error:  # of a broken installation, which nobody asked for
        if required:
            raise
        warnings.warn(f"TensorBoard gets no log, as its import failed: {error}", stacklevel=3)
        return None
    return SummaryWriter
