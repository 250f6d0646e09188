"""Runs the benchmarks by name, all of them without one."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    "speed",
    "grad_cam",
    "memory",
    "ground_truth",
    "odometry",
    "attention",
    "fit",
    "conv3t",
    "temporal_parameters",
    "fusion",
    "fusion_post_hoc",
    "skeletons",
    "pictures",
    "training",
)


def main(names: list[str]) -> int:
    """Runs each benchmark's ``main`` and prints its table."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"unknown benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in names or NAMES:
        print(f"\n## {name}\n")
        importlib.import_module(f"tests.benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
