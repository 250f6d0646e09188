"""The bundled models: names, untrained and trained nets, and what each says about itself."""

from models import c3d as _c3d  # noqa: F401  (registers its models)
from models import cnn_lstm as _cnn_lstm  # noqa: F401
from models import fusion_net as _fusion_net  # noqa: F401
from models import inflated as _inflated  # noqa: F401
from models import lenet5 as _lenet5  # noqa: F401
from models import odometry as _odometry  # noqa: F401
from models import res_tcn as _res_tcn_nets  # noqa: F401
from models.info import BundledModel, ModelInfo
from models.registry import build, list_models, load

__all__ = ["BundledModel", "ModelInfo", "build", "list_models", "load"]
