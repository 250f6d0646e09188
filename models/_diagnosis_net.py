"""The net that is diagnosed: built, loaded, and its layers by name."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from captum_video._core.errors import close_matches
from captum_video.cli._errors import UsageError
from captum_video.cli._model import load_weights
from models import registry
from models._res_tcn import MSResTCN, ResTCN
from models._residual_units import SameConv1d
from models.data.actions import ACTIONS

Net = ResTCN | MSResTCN


def open_net(name: str, weights: Path | None, device: torch.device) -> Net:
    """A trained net of the family, in evaluation mode.

    Args:
        name: one of ``models.list_models()``.
        weights: a file of weights, as the trainer leaves it; ``None`` for those of the checkout.
        device: where it goes.

    Returns:
        The net.

    Raises:
        ValueError: there is no such model, it is no Res-TCN, it does not tell the actions of
            ``models.data.actions``, or the weights do not fit.
        FileNotFoundError: the checkout has no weights for it.
    """
    net = registry.load(name) if weights is None else registry.build(name)
    if not isinstance(net, Net):
        family = [n for n in registry.list_models() if "res_tcn" in n]
        raise ValueError(
            f"{name} is a {type(net).__name__}, no Res-TCN: the diagnosis decodes the layers of "
            f"{', '.join(family)}."
        )
    if weights is not None:
        try:
            load_weights(net, weights)
        except UsageError as error:
            raise ValueError(str(error).replace("--checkpoint", "--weights", 1)) from error
    if net.info.classes != ACTIONS:
        raise ValueError(
            f"{name} tells {len(net.info.classes)} classes ({', '.join(net.info.classes[:3])}, ...), "
            f"not the {len(ACTIONS)} actions that clips are drawn of."
        )
    return net.eval().to(device)


def layers_of(net: Net) -> list[str]:
    """The layers of the main stream by dotted name, from the first to the last.

    Args:
        net: a Res-TCN or MS-Res-TCN.

    Returns:
        Their names.
    """
    first, rest = ("layer1_main", ".main") if isinstance(net, MSResTCN) else ("layer1", "")
    return [first, *(f"layer{number}{rest}" for number in range(2, net.depth + 1))]


def chosen_layers(net: Net, chosen: Sequence[str] | None) -> list[str]:
    """The layers to decode.

    Args:
        net: a Res-TCN or MS-Res-TCN.
        chosen: numbers from 1, or dotted names, also of the attention stream; ``None`` for all of
            the main stream.

    Returns:
        Their names, each once, in order of depth.

    Raises:
        ValueError: for a layer that the net does not have.
    """
    main = layers_of(net)
    if chosen is None:
        return main
    streams = [main]
    if isinstance(net, MSResTCN):
        streams.append([name.replace("main", "attention") for name in main])
    known = [name for row in zip(*streams, strict=True) for name in row]
    found = []
    for layer in chosen:
        if layer.isdigit() and 1 <= int(layer) <= len(main):
            found.append(main[int(layer) - 1])
        elif layer in known:
            found.append(layer)
        else:
            raise ValueError(
                f"--layers has {layer!r}; layers go from 1 to {len(main)}. "
                f"{close_matches(layer, known)}"
            )
    return [name for name in known if name in found]


def untrained(net: Net, inputs: Tensor, seed: int = 0) -> Net:
    """A net of the same plan, mean skeleton and targets that has learnt nothing.

    Args:
        net: the trained one.
        inputs: sequences that its batch norms take their statistics from.
        seed: of its filters.

    Returns:
        The net, in evaluation mode.
    """
    twin = deepcopy(net).train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in twin.modules():
            if isinstance(module, SameConv1d):
                fresh = SameConv1d(
                    module.in_channels, module.out_channels, module.kernel_size[0], module.stride[0]
                )
                module.load_state_dict(fresh.state_dict())
            elif isinstance(module, nn.BatchNorm1d):
                module.reset_parameters()
                module.momentum = None  # statistics are plain means
            elif isinstance(module, nn.Dropout):
                module.p = 0.0
        twin(inputs.to(twin.mean.device))
    return twin.eval()
