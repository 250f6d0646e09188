"""What each method claims and what it does not, in plain words."""

from __future__ import annotations

_COLOURS = "Red (or orange) counts for what was explained, blue (or purple) against it."
_RULES = (
    "It hands one decision back to the pixels by fixed rules. It does not say what would happen if "
    "those pixels were changed, nor that the model understands what it marks."
)
_LAYER = (
    "It is as coarse as the layer it was read at: an edge in the map is no edge in the clip, and a "
    "time slice may stand for several frames."
)
_CAPTIONS = {
    "discriminative-relevance": (
        "Total relevance is the decision handed back to the pixels (deep Taylor). Spatial relevance "
        "is what each frame earns when it stands still for the whole clip; temporal relevance is "
        f"what is left over, which only the motion explains. {_COLOURS}",
        f"{_RULES} Where temporal relevance lies says where motion counted; how much it counted is "
        "another question, which the temporal share answers.",
    ),
    "deep-taylor": (
        f"Relevance is the decision handed back to the pixels, layer by layer. {_COLOURS}",
        f"{_RULES} It does not tell appearance from motion.",
    ),
    "selective-relevance": (
        "Total relevance is the decision handed back to the pixels; selective relevance keeps of it "
        f"what changes quickly from frame to frame. {_COLOURS}",
        f"{_RULES} A change of relevance in time is a sign of motion, not a proof: a flickering "
        "pattern changes too.",
    ),
    "video-grad-cam": (
        "Grad-CAM adds up the channels of one layer, each weighed by how the explained score changes "
        f"with it: where, and when, that layer held evidence. {_COLOURS}",
        f"{_LAYER} It does not tell appearance from motion.",
    ),
    "regression-grad-cam": (
        "Grad-CAM of a number: where, and when, one layer held what raises the objective named below "
        f"(an output, or a smaller error). {_COLOURS}",
        f"{_LAYER} It follows a gradient, so it is about small changes of the layer, not about "
        "removing what it marks.",
    ),
    "frame-attention": (
        "The attention curve is the weight that the model itself gave to each frame; Grad-CAM, where "
        "it is shown, marks where in the frames evidence lay.",
        "A weight says how much a frame's features went into the answer, not whether they spoke for "
        "it. The weights are the same for every class.",
    ),
    "feature-map-decoder": (
        "Each panel is what one hidden layer has made of the movement, drawn in the input's own "
        "domain by the paper's decoder.",
        "It shows what the layer's filters respond to, averaged over them; it is no picture of what "
        "the decision rests on.",
    ),
}
_OTHER = (
    f"The maps say what the method named below gave to each pixel of each frame. {_COLOURS}",
    "What follows from that depends on the method; a map alone does not prove why the model decided "
    "as it did.",
)


def caption_of(method: str) -> str:
    """What a method claims and what it does not.

    Args:
        method: its name in the ``captum-video`` command; a general caption for any other.

    Returns:
        Paragraphs, one per line.
    """
    return "\n".join(_CAPTIONS.get(method, _OTHER))
