"""One mask a file, read back with Pillow."""

import io

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis.extra import numpy as hnp
from PIL import Image

from flowseg.exports import mask_png


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_read_back_it_is_the_mask(mask: npt.NDArray[np.bool_]) -> None:
    with Image.open(io.BytesIO(mask_png.encode(mask))) as opened:
        assert opened.mode == "L"
        assert (np.asarray(opened) == 255 * mask).all()
