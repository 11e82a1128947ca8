import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowseg.errors import OptionError
from flowseg.model_config import Architecture, ModelConfig, Thresholds

shapes = st.builds(
    Architecture,
    channels=st.integers(1, 64),
    widths=st.lists(st.integers(1, 4096), min_size=1, max_size=8),
    outputs=st.integers(1, 64),
    kernel=st.sampled_from([1, 3, 5, 7, 15]),
    residual=st.booleans(),
    style=st.booleans(),
    concatenation=st.booleans(),
)
diameters = st.floats(0.1, 1e5)
thresholds = st.builds(Thresholds, st.floats(-100, 100), st.floats(0, 1e6), st.integers(-1, 10**6))
configs = st.builds(
    ModelConfig,
    architecture=shapes,
    name=st.text(),
    diameter_mean=diameters,
    diameter_labels=st.none() | diameters,
    normalisation=st.tuples(st.floats(0, 49), st.floats(50, 100)),
    cellprob_threshold=st.floats(-100, 100),
    flow_threshold=st.floats(0, 1e6),
    min_size=st.integers(-1, 10**6),
    group_thresholds=st.dictionaries(st.text(), thresholds, max_size=3),
    training_data=st.text(),
)


@given(configs)
def test_a_config_survives_json(config: ModelConfig) -> None:
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_group_has_its_own_thresholds() -> None:
    given = {"cort": Thresholds(-1.0, 0.6, 40)}
    config = ModelConfig(name="neurons", cellprob_threshold=0.5, group_thresholds=given)
    given.clear()
    assert config.for_group("cort").thresholds == Thresholds(-1.0, 0.6, 40)
    assert config.for_group("cort").name == "neurons"
    assert config.for_group("astro") == config
    assert config.thresholds == Thresholds(0.5, 0.4, 15)
    assert hash(config) == hash(dataclasses.replace(config, group_thresholds={}))


def test_every_field_is_documented() -> None:
    for record in (Architecture, ModelConfig):
        for field in dataclasses.fields(record):
            assert f"    {field.name}\n" in (record.__doc__ or ""), field.name


def test_defaults_are_those_of_cellpose() -> None:
    assert Architecture().stride == 8
    assert Architecture(widths=(3,)).stride == 1
    assert ModelConfig.from_dict({}) == ModelConfig()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"channels": 0}, "channels is 0; wanted a whole number from 1 to 64"),
        ({"channels": True}, "channels is True"),
        ({"channels": 2.0}, "channels is 2.0"),
        ({"widths": ()}, "widths has 0 levels"),
        ({"widths": (1,) * 9}, "widths has 9 levels"),
        ({"widths": (32, 0)}, "a width is 0"),
        ({"widths": 32}, "widths is 32; wanted a list"),
        ({"outputs": -1}, "outputs is -1"),
        ({"kernel": 2}, "kernel is 2; wanted an odd number"),
        ({"style": 1}, "style is 1; wanted true or false"),
    ],
)
def test_architectures_that_cannot_be(values: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        Architecture(**values)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"kind": "sam"}, "kind is 'sam'"),
        ({"name": 3}, "name is 3; wanted text"),
        ({"diameter_mean": 0}, "diameter_mean is 0"),
        ({"diameter_mean": float("nan")}, "diameter_mean is nan"),
        ({"diameter_mean": "x" * 999}, r"diameter_mean is 'x{76}\.\.\.; wanted a number"),
        ({"diameter_mean": 10**400}, "diameter_mean is 10000"),
        ({"diameter_labels": -1.0}, "diameter_labels is -1.0"),
        ({"channel_names": ["cyto"]}, "wanted one for each of 2 channels"),
        ({"channel_names": [1, 2]}, "a channel name is 1"),
        ({"normalisation": (1,)}, "wanted two percentiles"),
        ({"normalisation": (99, 1)}, "wanted the low percentile below"),
        ({"normalisation": (0, 101)}, "the high percentile"),
        ({"cellprob_threshold": float("inf")}, "cellprob_threshold is inf"),
        ({"flow_threshold": -0.1}, "flow_threshold is -0.1"),
        ({"min_size": 1.5}, "min_size is 1.5"),
        ({"group_thresholds": 3}, "group_thresholds is 3; wanted thresholds by group"),
        ({"group_thresholds": {"a": 3}}, "thresholds of group 'a' is 3; wanted names and values"),
        ({"group_thresholds": {"a": {"niter": 3}}}, "thresholds of group 'a' has the unknown field 'niter'"),
        ({"group_thresholds": {"a": {"min_size": 0.5}}}, "min_size is 0.5"),
        ({"group_thresholds": {3: {}}}, "the name of a group is 3; wanted text"),
        ({"architecture": {"depth": 3}}, "architecture has the unknown field 'depth'"),
        ({"architecture": 3}, "the architecture is 3; wanted names and values"),
        ({"colour": 3}, "model config has the unknown field 'colour'"),
    ],
)
def test_configs_that_cannot_be(values: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_a_config_is_names_and_values(values: Any) -> None:
    with pytest.raises(OptionError, match="wanted names and values"):
        ModelConfig.from_dict(values)


def test_thresholds_of_a_group_are_a_record() -> None:
    with pytest.raises(OptionError, match="wanted Thresholds"):
        ModelConfig(group_thresholds={"a": {"min_size": 3}})  # type: ignore[dict-item]


def test_an_architecture_is_a_record() -> None:
    with pytest.raises(OptionError, match="wanted an Architecture"):
        ModelConfig(architecture={"channels": 2})  # type: ignore[arg-type]
