"""GeoJSON: valid geometry of the same pixels, with holes and measurements, and ids that repeat."""

import json
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from shapely.geometry import shape

from flowseg.errors import InputError, OptionError
from flowseg.exports import geojson
from flowseg.instances import Instances, from_labels
from flowseg.measure import measure
from tests.filling import filled
from tests.shapes import label_images

Features = list[dict[str, Any]]


def features(*arguments: Any, **options: Any) -> Features:
    found = json.loads(geojson.encode(*arguments, **options), parse_constant=pytest.fail)
    assert found["type"] == "FeatureCollection"
    return list(found["features"])


@settings(max_examples=100)
@given(label_images(12, 2))
def test_geometry_is_valid_and_of_the_same_pixels(labels: npt.NDArray[np.int32]) -> None:
    instances, values = from_labels(labels)
    found = features(instances, values, measure(labels))
    assert [feature["properties"]["name"] for feature in found] == [str(value) for value in values]
    for feature, value in zip(found, values, strict=True):
        mask = labels == value
        geometry = shape(feature["geometry"])
        assert geometry.is_valid
        assert geometry.area == mask.sum() == feature["properties"]["measurements"]["area"]
        coordinates = feature["geometry"]["coordinates"]
        pieces = [coordinates] if feature["geometry"]["type"] == "Polygon" else coordinates
        rings = [ring for piece in pieces for ring in piece]
        assert all(ring[0] == ring[-1] for ring in rings)
        assert (filled([ring[:-1] for ring in rings], mask.shape) == mask).all()
        for piece in pieces:  # as RFC 7946 wants them
            assert shape({"type": "Polygon", "coordinates": piece[:1]}).exterior.is_ccw
            assert not any(shape({"type": "Polygon", "coordinates": [hole]}).exterior.is_ccw for hole in piece[1:])


def test_objects_as_qupath_wants_them() -> None:
    (feature,) = features(*from_labels([[0, 5]]), {"label": np.array([5]), "mean": np.array([1.5])}, kind="cell")
    assert feature["properties"] == {"objectType": "cell", "name": "5", "measurements": {"mean": 1.5}}


def test_measurements_that_are_not_numbers_are_left_out() -> None:
    (feature,) = features(
        *from_labels([[0, 5]]), {"a": np.array([np.nan]), "b": np.array([np.inf]), "c": np.array([1])}
    )
    assert feature["properties"]["measurements"] == {"c": 1}


def test_ids_repeat_and_differ_between_instances_and_images() -> None:
    arguments = from_labels([[1, 2, 3]])
    ids = [feature["id"] for name in ("a", "b") for feature in features(*arguments, name=name)]
    assert len({uuid.UUID(one) for one in ids}) == 6
    assert geojson.encode(*arguments, name="a") == geojson.encode(*arguments, name="a")


def test_overlapping_instances_stay_whole_and_empty_ones_are_left_out() -> None:
    masks = np.array([[[1, 1, 0]], [[0, 1, 1]], [[0, 0, 0]]])
    found = features(Instances.from_masks(masks, (1, 3)))
    assert [shape(feature["geometry"]).bounds for feature in found] == [(0, 0, 2, 1), (1, 0, 3, 1)]
    assert features(Instances.from_labels(np.zeros((0, 4), int))) == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"values": [1]}, InputError), ({"table": {"area": np.ones(3)}}, InputError), ({"kind": "tile"}, OptionError)],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="wanted"):
        geojson.encode(Instances.from_labels([[1, 2]]), **wrong)


def test_classes_as_qupath_wants_them() -> None:
    arguments, names = from_labels([[1, 2, 3, 4]]), ["Tumour", "", "T\n cell", "Tumour"]
    first, none, second, third = (one["properties"] for one in features(*arguments, classes=names))
    assert [each["classification"]["name"] for each in (first, second, third)] == ["Tumour", "T cell", "Tumour"]
    assert "classification" not in none
    colours = [each["classification"]["color"] for each in (first, second, third)]
    assert colours[0] == colours[2] != colours[1]
    for colour in colours:
        assert len(colour) == 3
        assert all(isinstance(part, int) and 0 <= part <= 255 for part in colour)
    with pytest.raises(InputError, match="classes has shape"):
        features(*arguments, classes=names[:2])
