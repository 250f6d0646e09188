"""The command line's options."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from captum_video import __version__
from captum_video.cli._values import numbers, size, whole_number

_EXAMPLE = """\
examples:
  captum-video explain clip.mp4 --model torchvision.models.video:r3d_18 \\
      --checkpoint r3d_18.pth --mean 0.432,0.395,0.377 --std 0.228,0.221,0.217
  captum-video explain clip.mp4 --model torchvision.models.video:r3d_18 \\
      --checkpoint r3d_18.pth --method video-grad-cam --layer layer4.1
  captum-video explain wave.skeleton --model hubconf:res_tcn_small \\
      --method feature-map-decoder --layer layer1,layer7

Each CLIP is a video file or a folder of images, or for feature-map-decoder and deep-taylor a
.skeleton file of NTU RGB+D. It gets a folder of its own in DIR with overlay.mp4, strip.png,
relevance.safetensors and summary.json. Skeletons get skeletons.mp4 instead of the overlay, with
responses.png and decoded.safetensors where layers are decoded, and joints.png where relevance is.
Exit status: 0 all clips done, 1 some could not be, 2 wrong usage, 130 interrupted.
"""


def build_parser(methods: Iterable[str]) -> argparse.ArgumentParser:
    """The parser of the command and its subcommands.

    Args:
        methods: the names that ``--method`` takes, the default first.

    Returns:
        The parser.
    """
    parser = argparse.ArgumentParser(
        prog="captum-video",
        description="Explain what a video model saw: where, when, appearance or motion.",
    )
    parser.add_argument("--version", action="version", version=f"captum-video {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    explain = commands.add_parser(
        "explain",
        help="explain a model's decision on clips",
        description="Predicts and explains clips; writes a video, a picture and the arrays.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain.add_argument(
        "clips", nargs="+", type=Path, metavar="CLIP", help="video, folder or .skeleton file"
    )
    _add_model(explain)
    _add_method(explain, list(methods))
    _add_layer(explain)
    _add_regression(explain)
    _add_clip(explain)
    _add_skeletons(explain)
    _add_output(explain)
    layers = commands.add_parser(
        "layers",
        help="list a model's layers and the frames that they cover",
        description="Lists the layers that Grad-CAM can explain, or of a model of skeletons those "
        "that can be decoded: their shape, their time slices, and the frames that each slice covers.",
    )
    layers.add_argument(
        "clip",
        nargs="?",
        type=Path,
        metavar="CLIP",
        help="video, folder or .skeleton file (default: a blank clip)",
    )
    _add_model(layers)
    _add_clip(layers)
    _add_skeletons(layers)
    _add_listing(layers)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        required=True,
        metavar="MODULE:FACTORY",
        help="where to find the model: FACTORY() in MODULE returns a torch.nn.Module; modules of "
        "the current folder are found too",
    )
    group.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="weights to load into it: .safetensors, or a state dict saved by torch",
    )
    group.add_argument(
        "--classes", type=Path, metavar="FILE", help="class names, one per line, in output order"
    )
    group.add_argument(
        "--answer",
        metavar="KEY",
        help="which part of the model's answer holds the scores, if it is a list, tuple, dict or "
        "ModelOutput: a key, an index, or MODULE:FUNCTION of the answer (default: the part called "
        "logits, or the only tensor)",
    )
    group.add_argument(
        "--feed",
        metavar="FORM",
        help="how the model is called with the clip: tensor (the default), list, tuple, the name of "
        "an argument, or MODULE:FUNCTION of the clip; with :AXES, such as pixel_values:NTCHW, if it "
        "wants others than NCTHW",
    )
    group.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)"
    )


def _add_method(parser: argparse.ArgumentParser, methods: list[str]) -> None:
    group = parser.add_argument_group("explanation")
    group.add_argument(
        "--method", default=methods[0], help=f"one of {', '.join(methods)} (default: %(default)s)"
    )
    group.add_argument(
        "--target",
        metavar="CLASS",
        help="class to explain: its index or name (GROUP:NAME where a name occurs twice), "
        "'predicted', or a group of outputs for what is predicted there (default: predicted); of a "
        "regression an output's index, such as 0,2, its name, or 'all' (default: all)",
    )
    group.add_argument(
        "--seed-with",
        choices=("one", "score"),
        help="relevance that the target starts with (default: the method's); for relevance methods",
    )
    group.add_argument(
        "--frozen-frame",
        choices=("same", "mean", "first"),
        help="which copy of a frozen clip tells its spatial relevance (default: same); for "
        "discriminative-relevance",
    )
    group.add_argument(
        "--internal-batch-size",
        type=whole_number,
        default=4,
        metavar="N",
        help="clips in memory at once while explaining (default: %(default)s)",
    )


def _add_layer(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "layer",
        "For video-grad-cam, regression-grad-cam, frame-attention and feature-map-decoder. "
        "`captum-video layers` lists the model's layers.",
    )
    group.add_argument(
        "--layer",
        action="append",
        metavar="NAME",
        help="the layer to explain, or the attention (default: what the model recommends); "
        "feature-map-decoder takes several, separated by commas or one --layer each (default: the "
        "first, a middle and the last one of those that can be decoded)",
    )
    group.add_argument(
        "--attention-weights",
        metavar="ATTRIBUTE",
        help="frame-attention: where the weights are if not in the module's output: an attribute of "
        "the module, or MODULE:FUNCTION of its output",
    )
    group.add_argument(
        "--grad-cam-layer",
        metavar="NAME",
        help="frame-attention: also show Grad-CAM at this layer (default: what the model recommends)",
    )
    group.add_argument(
        "--temporal-pooling",
        choices=("clip", "frame"),
        help="average gradients over the clip, or for each time slice alone (default: clip)",
    )
    group.add_argument(
        "--temporal-alignment",
        choices=("receptive-field", "uniform"),
        help="put time slices where they looked, or spread them evenly (default: receptive-field)",
    )
    group.add_argument(
        "--frames-per-clip",
        type=whole_number,
        metavar="N",
        help="time slices at a layer that sees frames as a batch, where that is not evident",
    )
    group.add_argument(
        "--reshape",
        metavar="MODULE:ATTRIBUTE",
        help="a function from the layer's output to (N, C, T, H, W), where axes cannot be told: "
        "your own, or mvit_tokens or channels_last",
    )


def _add_regression(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("regression", "For regression-grad-cam.")
    group.add_argument(
        "--objective",
        choices=("negative-loss", "output", "negative-output"),
        help="what is explained (default: negative-loss if there is a --loss, else output)",
    )
    group.add_argument(
        "--loss",
        metavar="MODULE:CALLABLE",
        help="called as loss(outputs, truth), such as torch.nn.functional:mse_loss; a class is "
        "called without arguments first",
    )
    group.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="numbers of the outputs' shape (.safetensors, .npy, .csv); one row for each of several "
        "clips",
    )
    group.add_argument(
        "--self-supervised",
        action="store_true",
        help="call loss(outputs, clip) instead, with the clip as the model sees it",
    )


def _add_clip(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "clip",
        "What the model is fed. Models that say so themselves (model.info) need none of these.",
    )
    group.add_argument("--start", type=float, metavar="S", help="from this time on, in seconds")
    group.add_argument("--end", type=float, metavar="S", help="up to this time, in seconds")
    group.add_argument(
        "--frames",
        type=whole_number,
        metavar="N",
        help="frames (default: 16; of skeletons, as many as there are)",
    )
    group.add_argument(
        "--stride",
        type=whole_number,
        metavar="K",
        help="take every K-th frame (default: spread evenly over the clip)",
    )
    group.add_argument("--size", type=size, metavar="H,W", help="pixels (default: 112,112)")
    group.add_argument(
        "--fit",
        choices=("crop", "squeeze"),
        help="cut out the middle, or change proportions (default: crop)",
    )
    group.add_argument(
        "--mean", type=numbers, metavar="R,G,B", help="subtracted from values in 0..1 (default: 0)"
    )
    group.add_argument("--std", type=numbers, metavar="R,G,B", help="divided by (default: 1)")
    group.add_argument(
        "--grey", action="store_true", help="one channel of brightness instead of colour"
    )
    group.add_argument(
        "--allow-truncated",
        action="store_true",
        help="take what can be decoded of a damaged file instead of reporting it",
    )
    group.add_argument(
        "--backend",
        choices=("pyav", "skvideo"),
        help="what decodes video files; skvideo runs the program ffmpeg (default: pyav)",
    )


def _add_skeletons(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "skeletons",
        "Of the options about clips they take --frames alone: the last frame is held in a shorter "
        "file, and a longer one is cut.",
    )
    group.add_argument(
        "--actors",
        type=whole_number,
        metavar="N",
        help="how many bodies the model takes, those that move most (default: 2)",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        type=Path,
        default=Path("explanations"),
        metavar="DIR",
        help="folder to write to (default: %(default)s)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace explanations that are there already"
    )
    group.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="also write a page that plays the clip with its maps (of several clips: FILE-CLIP.html)",
    )
    group.add_argument(
        "--also",
        action="append",
        metavar="CLASS",
        help="explain this class too, for the page to switch between; may be given several times",
    )
    group.add_argument(
        "--colour-blind",
        action="store_true",
        help="orange and purple in place of red and blue",
    )
    group.add_argument(
        "--fps",
        type=float,
        metavar="F",
        help="rate of the video (default: 8 at most; of skeletons 30)",
    )
    _add_traceback(group)


def _add_listing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--all",
        action="store_true",
        help="list every layer that is called, with containers, norms, the insides of blocks and "
        "layers without space",
    )
    group.add_argument("--json", action="store_true", help="write JSON instead of a table")
    _add_traceback(group)


def _add_traceback(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--traceback", action="store_true", help="show where in the code an error arose"
    )
