"""Entry points for ``torch.hub.load``: one for each model that ``models.list_models()`` names."""

from collections.abc import Callable as _Callable

import models as _models

dependencies = ["torch", "captum", "numpy", "matplotlib", "av", "PIL", "safetensors", "tqdm"]


def _entry_point(name: str, bundled: bool) -> _Callable[..., object]:
    def entry_point(pretrained: bool = bundled, **options: object) -> object:
        if not pretrained:
            return _models.build(name, **options)
        if options:
            raise ValueError(f"Options need pretrained=False, got {', '.join(options)}.")
        return _models.load(name)

    entry_point.__name__ = name
    entry_point.__doc__ = f"""The model ``{name}``; its facts are in ``model.info``.

    Args:
        pretrained: whether to load the bundled weights (default: {bundled}).
        options: what ``models.build`` takes, for a model without weights.

    Returns:
        The model: in evaluation mode with weights, in training mode without.
    """
    return entry_point


for _bundled in (False, True):
    for _name in _models.list_models(bundled=_bundled):
        globals()[_name] = _entry_point(_name, _bundled)
