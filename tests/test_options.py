import json

import numpy as np
import pytest

from flowseg import model_config, options
from flowseg.channels import from_cellpose_channels
from flowseg.errors import OptionError
from flowseg.model_config import ModelConfig, Thresholds
from flowseg.options import MaskOptions, SegmentOptions


@pytest.mark.parametrize("name", ["FLOW_SCALE", "FLOW_TARGETS", "Architecture", "ModelConfig", "Thresholds"])
def test_what_describes_a_model_can_be_had_from_here_too(name: str) -> None:
    assert name in options.__all__
    assert getattr(options, name) is getattr(model_config, name)


def test_an_image_of_a_group_is_segmented_with_its_thresholds() -> None:
    config = ModelConfig(min_size=20, group_thresholds={"cort": Thresholds(-1.0, 0.0, 30)})
    assert SegmentOptions(group="cort").masks(config, 1.0) == MaskOptions(-1.0, 0.0, 200, 30)
    assert SegmentOptions(group="cort", min_size=5).masks(config, 1.0).min_size == 5
    assert SegmentOptions().masks(config, 1.0).min_size == 20
    with pytest.raises(OptionError, match="no thresholds for a group 'astro'; it has cort"):
        SegmentOptions(group="astro").masks(config, 1.0)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("1, 0", ("1", "0")),
        ("grey", ("grey",)),
        (2, (2,)),
        ([1, 0], (1, 0)),
        (np.array([1, 0]), (1, 0)),
        (from_cellpose_channels((2, 1)), (1, 0)),
        (from_cellpose_channels((0, 0)), ("grey", None)),
        (None, None),
    ],
)
def test_channels_are_given_as_a_person_writes_them(given: object, kept: object) -> None:
    options = SegmentOptions(channels=given)  # type: ignore[arg-type]
    assert options.channels == kept
    json.dumps(options.channels)  # as it is written down


@pytest.mark.parametrize("given", ["", ",", " , "])
def test_text_that_names_no_channel_is_refused(given: str) -> None:
    with pytest.raises(OptionError, match="names none; leave it out"):
        SegmentOptions(channels=given)


def test_arrays_of_a_single_number_are_numbers() -> None:
    options = SegmentOptions(diameter=np.array(17.0), channels=np.array(1), min_size=np.array(9))  # type: ignore[arg-type]
    assert options == SegmentOptions(diameter=17.0, channels=1, min_size=9)


def test_a_diameter_of_0_as_in_cellpose_is_answered_with_what_stands_for_it() -> None:
    with pytest.raises(OptionError, match=r"diameter is 0; .*estimated"):
        SegmentOptions(diameter=0)
