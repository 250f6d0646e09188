"""What is said when relevance cannot flow."""

from __future__ import annotations

from collections.abc import Iterable


class UnsupportedOperationError(RuntimeError):
    """The forward pass holds operations that no relevance rule covers.

    Attributes:
        operations: every such operation between the inputs and the output, as
            ``"name in module 'dotted.path' (Type)"``.
    """

    def __init__(self, operations: Iterable[str]) -> None:
        self.operations = tuple(dict.fromkeys(operations))
        listed = "\n".join(f"  - {operation}" for operation in self.operations)
        super().__init__(
            "no relevance rule covers these operations between input and output:\n"
            f"{listed}\n"
            "Explain an output before them, replace them by operations that have a rule, or use a "
            "gradient method, for example captum.attr.InputXGradient, as the base of "
            "DiscriminativeRelevance."
        )
