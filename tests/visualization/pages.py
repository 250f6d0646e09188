"""What the tests of the report page share."""

import base64
import io
import json
import re
import zlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def frames(total: int = 4, height: int = 6, width: int = 8) -> np.ndarray:
    """Frames (T, H, W, 3) that differ in every pixel."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (total, height, width, 3), dtype=np.uint8)


def noise(total: int = 4, height: int = 6, width: int = 8, seed: int = 0) -> Tensor:
    """A map with heavy tails."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(total, height, width, generator=generator) ** 3


def content_of(page: str) -> dict[str, Any]:
    """What a page holds, read as a browser does."""
    found = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page, re.S)
    assert len(found) == 1
    return json.loads(found[0])


def decoded(content: dict[str, Any], kept: dict[str, Any]) -> np.ndarray:
    """A map as the page's own words say that it is stored."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(kept["values"])), np.int8)
    width, height = content["size"]
    roots = steps.reshape(len(content["labels"]), height, width) / content["levels"]
    return kept["peak"] * np.sign(roots) * roots**2


def pixels(uris: list[str]) -> np.ndarray:
    """Pictures (T, H, W, 3) of data URIs."""
    data = [base64.b64decode(uri.split(",", 1)[1]) for uri in uris]
    return np.stack([np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in data])
