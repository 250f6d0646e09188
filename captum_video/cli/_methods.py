"""The attribution methods that the command knows, behind one face."""

from __future__ import annotations

import argparse

from captum_video._core.errors import close_matches
from captum_video.cli._decoder_method import DECODER_METHODS
from captum_video.cli._errors import UsageError
from captum_video.cli._grad_cam_methods import GRAD_CAM_METHODS
from captum_video.cli._regression_methods import REGRESSION_METHODS
from captum_video.cli._relevance_methods import RELEVANCE_METHODS
from captum_video.cli._request import Method

#: by name; the first is the default
METHODS: dict[str, Method] = {
    **RELEVANCE_METHODS,
    **GRAD_CAM_METHODS,
    **REGRESSION_METHODS,
    **DECODER_METHODS,
}


def method_of(options: argparse.Namespace) -> Method:
    """The method that the options ask for.

    Args:
        options: the parsed command line.

    Returns:
        The method.

    Raises:
        UsageError: if there is none of that name, or an option is given that is not for it.
    """
    name = options.method
    if name not in METHODS:
        raise UsageError(
            f"--method {name}: there is no such method. {close_matches(name, METHODS)}"
        )
    chosen = METHODS[name]
    for option in sorted(frozenset().union(*(method.takes for method in METHODS.values()))):
        if getattr(options, option) not in (None, False) and option not in chosen.takes:
            those = [other for other, method in METHODS.items() if option in method.takes]
            raise UsageError(
                f"--{option.replace('_', '-')} is for {' and '.join(those)}, not for {name}"
            )
    if (options.target is not None or options.also) and not chosen.targeted:
        option = "--target" if options.target is not None else "--also"
        raise UsageError(f"{option} is not for {name}: what it shows depends on no class")
    return chosen
