"""What has no form under the older opset, and the error that says so."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import normal, parse, run_passes
from older_operators import IMAGE, real, whole

from edgecc.errors import BuildError

LOWER = "name_everything, lift_constants, infer_shapes, lower_opset(opset={})"
REFUSED = {
    "negative axis": (13, 9, "y = Flatten <axis=-1> (x)", "Flatten takes no negative axis there"),
    "GridSample": (16, 13, "y = GridSample(x, grid)", "GridSample came with opset 16"),
    "float8": (19, 17, "y = Cast <to=17> (x)", "Cast takes no tensor(float8e4m3fn) there"),
    "axes": (18, 17, "y = ReduceMean(x, z)", "its axes are computed at run time"),
    "sizes": (13, 11, "y, o = Split(x, z)", "its sizes are computed at run time"),
    "antialias": (
        18,
        17,
        'y = Resize <antialias=1, mode="linear"> (x, , half)',
        "it shrinks with antialias",
    ),
    "dilations": (
        19,
        17,
        "y = AveragePool <kernel_shape=[2,2], dilations=[2,2]> (x)",
        "its window has holes (dilations)",
    ),
    "wrap": (19, 17, 'y = Pad <mode="wrap"> (x, z)', "its pads or axes are computed at run time"),
    "per channel": (
        13,
        11,
        "q = QuantizeLinear(x, s) y = DequantizeLinear(q, s)",
        "it has a scale for each channel, which came with opset 13",
    ),
    "training": (15, 11, "y, o, p = BatchNormalization <training_mode=1> (x, s, s, s, s)", "train"),
    "last index": (
        12,
        11,
        "o = ArgMax <select_last_index=1> (x) y = Cast <to=1> (o)",
        "ArgMax has no attribute 'select_last_index' there",
    ),
    "symmetric": (
        19,
        17,
        'y = Resize <coordinate_transformation_mode="half_pixel_symmetric"> (x, , odd)',
        "a size that is no whole number of pixels",
    ),
    "not larger": (
        18,
        17,
        'y = Resize <axes=[1, 2], keep_aspect_ratio_policy="not_larger"> (x, , , uneven)',
        "not_larger rounds its sizes up",
    ),
    "RoiAlign": (16, 11, "y = RoiAlign(x, rois, picture)", "its pixels lie half a pixel elsewhere"),
    "reduction": (
        18,
        17,
        'y = ScatterND <reduction="max"> (x, i, u)',
        "ScatterND knows no reduction=max there",
    ),
    "zero sizes": (14, 13, "y = Reshape <allowzero=1> (x, z)", "its shape comes at run time"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_older_form_is_refused(name: str) -> None:
    new, old, body, reason = REFUSED[name]
    weights = {
        "grid": normal(1, 9, 9, 2),
        "half": real(1, 1, 0.5, 0.5),
        "odd": real(1, 1, 1.2, 1),
        "uneven": whole(5, 8),
        "s": np.abs(normal(4)),
        "rois": normal(1, 4),
        "picture": whole(0),
        "i": whole(0)[None],
        "u": normal(1, 4, 6, 6),
    }
    kind = "float8e4m3fn" if name == "float8" else "float"
    text = f"g ({IMAGE}, int64[K] z) => ({kind}[A,B,C,D] y) {{ {body} }}"
    model = parse(text, weights, opset=new)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(BuildError) as caught:
        run_passes(model, LOWER.format(old))
    assert reason in caught.value.message
    assert caught.value.hint == f"export the model at opset {old}"


def test_an_error_names_every_node_that_stands_in_the_way() -> None:
    model = parse(
        f"""g ({IMAGE}, int64[K] a) => (float[A,B,C,D] y) {{
            b = Gelu(x)  c = ReduceMax(b, a)  d = CenterCropPad(c, s)
            e = ReduceMin(d, a)  f = ReduceMean(e, a)  y = Mish(f)
        }}""",
        {"s": whole(1, 4, 6, 6)},
        opset=23,
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(BuildError) as caught:
        run_passes(
            model, "name_everything, infer_shapes, lower_opset(opset=13, reader=TensorRT 8.0)"
        )
    assert caught.value.message == (
        "TensorRT 8.0 reads opset 13 at most; this model needs 23 (node 'ReduceMax_c': its "
        "axes are computed at run time) and 3 more: 'CenterCropPad_d' (CenterCropPad came with "
        "opset 18), 'ReduceMin_e' (its axes are computed at run time), ..."
    )
