import base64
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowseg.checkpoint import SizeModel, read_size_model
from flowseg.errors import InputError, ModelError

VALUES = {
    "A": np.array([1.5, -2.0, 0.25], np.float32),
    "smean": np.array([0.1, 0.2, 0.3], np.float64),
    "diam_mean": 30.0,
    "ymean": np.float64(0.125),
}

# np.save of VALUES by NumPy 1.26.4 and by NumPy 2.4.6: the names in the pickle differ.
NUMPY_1 = base64.b85decode(
    "lTKAlP+0*0b^v=PWMy+>awj?<CwxyQEFdRlZ*p{UVQyb<a%5$4CpsWTVQh0{EFdRyXkl<=CpsV~DJ&p;ARr(hARr(hARr(hARr(hARr(hARr(h"
    "ARr(hARr(hARr(hARr(hARr(hARr(hARr(hARr(hARr(hARr(LfCFQ0b!~8YE@N+UWiD-XY;<X1a&lpL3SV+%V{dMAbaHiLbP90*V{UbAaCr)D"
    "WMOi0VR;I10ZRadaRNgDVsQh9aRgFv1t?1aDPwMRZE$%CWOR9OWeRZySONe508cn^2Z@M>aR^dz2`EbgSOEY40DN%@PEJlr|NsC0O8@`=|4Tn~"
    "aSLLJU2zP3aSbR~0RR91L2(Xf0B8YA0EKZ6Xak3F5K?gwC`$oL1BG!CXa-mU0001HG;tG&h=*|$QgIb1O9NN|0000yaTZQaPD=m(|Nlz=|Ns9>"
    "0CaH|Vu?cx006*00002M004kKaTs)Q8Ddxk0001UZDnC@aT;g<XaP$Ag>f5b1BY=OQgIz9O94v*g>fEe23P_B003q<aUY3@hjAcMaUm#6185db"
    "PEJby|Ns9=|NsC0O8|6nB4UX{7@C=xnVFfnKbo1DnVFf%KQl8kGcz;OKXD^;aU^0`2><{9WNBe-Uu|V!ZgC|?Kt2Ef00000SOow80C{a?VQz6I"
    "V{UbAaCt6cZ*pZWZFOvPX<>45VR;I3V_|Gzatd)LXdy!g00000006*0aVUmyDN=DNbzyXID`GA"
)
NUMPY_2 = base64.b85decode(
    "lTKAlP+0*0b^v=PWMy+>awj?<CwxyQEFdRlZ*p{UVQyb<a%5$4CpsWTVQh0{EFdRyXkl<=CpsV~DJ&p;ARr(hARr(hARr(hARr(hARr(hARr(h"
    "ARr(hARr(hARr(hARr(hARr(hARr(hARr(hARr(hARr(hARr(LfCQCy0RR910001t7H)NIaCt6YV{dY0E^T#ebZKF7a$$Ltj0|6LWn*t{b98cb"
    "V|0|0l#B&#b!~8Yl#B;%WMOi0VR@93luH1GltTexl!ug3lqgF9DQE+X1!Q!2aAlN}l#BvTIFyNqhm=y3C`$v30eqBBPEJby|Ns9=|NsC0OFwj!"
    "Vu@XpeUvDS0YQ{#0%!$G0ELuj2ZxkWlqgF9O9O?JXbX%2W;B$Eh=-I?lqgFBi~&59PEJlr|NsC0O8@`=|4RULlwyfP3;+PYKL7v#zyJV%K9qEn"
    "VvGfIZDnC@lxPBI1xo;hlxPQslv0!^O94v*g_LLui~?pjl!=Iklv0!^O9N;dPEJlr|NsC0O8@`=|4RULlwyfP7@C=xnVFfnKbo1DnVFf%KQl8k"
    "Gcz;OKa_NoVvGr7X<=<&ZDnC@lt(~500000004{yd2MB3Zj@*Mj0SUKVQgV?l#`TbCPN4S000000Kh+#hLlp2bzyXrVlD"
)


def cellposes_formula(values: dict[str, Any], style: np.ndarray) -> float:
    exponent = values["A"] @ (style - values["smean"]).T + np.log(values["diam_mean"]) + values["ymean"]
    return float(np.maximum(5.0, np.exp(exponent)))


def written(path: Path, values: object) -> Path:
    np.save(path, values, allow_pickle=True)  # type: ignore[arg-type]
    return path


def from_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def with_pickle(path: Path, content: bytes) -> Path:
    """A .npy file whose header says one object, and any pickle after it."""
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(file, header)
    return from_bytes(path, file.getvalue() + content)


def refused(path: Path, text: str) -> None:
    with pytest.raises(ModelError, match=text) as caught:
        read_size_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("data", [NUMPY_1, NUMPY_2], ids=["numpy1", "numpy2"])
def test_reads_what_both_numpys_write(tmp_path: Path, data: bytes) -> None:
    assert (b"numpy._core" in data) == (data is NUMPY_2)
    model = read_size_model(from_bytes(tmp_path / "size.npy", data))
    np.testing.assert_array_equal(model.weights, VALUES["A"])
    np.testing.assert_array_equal(model.style_mean, VALUES["smean"])
    assert (model.log_mean, model.diameter_mean) == (0.125, 30.0)
    style = np.array([0.5, -0.25, 0.75], np.float32)
    assert model.diameter(style) == pytest.approx(cellposes_formula(VALUES, style), rel=1e-6)


floats = st.floats(-2, 2, width=32)


@given(
    st.integers(1, 8).flatmap(lambda n: st.tuples(*[hnp.arrays(np.float64, n, elements=floats)] * 3)),
    floats,
    st.floats(0.5, 200),
    st.sampled_from([np.float32, np.float64, np.dtype(">f8"), np.float16]),
    st.sampled_from([float, np.float32, np.float64, lambda x: np.array([x])]),
)
@settings(max_examples=40)
def test_equals_cellposes_formula(
    tmp_path_factory: pytest.TempPathFactory, vectors: Any, ymean: float, diameter: float, dtype: Any, number: Any
) -> None:
    weights, mean, style = vectors
    values = {"A": weights.astype(dtype), "smean": mean.astype(dtype), "ymean": number(ymean), "diam_mean": diameter}
    model = read_size_model(written(tmp_path_factory.mktemp("size") / "size.npy", values))
    values |= {name: np.asarray(values[name], np.float64).squeeze()[()] for name in ("ymean", "diam_mean")}
    values |= {name: values[name].astype(np.float64) for name in ("A", "smean")}
    assert model.diameter(style) == pytest.approx(cellposes_formula(values, style), rel=1e-5)


@pytest.mark.parametrize("protocol", range(5))
def test_every_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    content = np.empty((), object)
    content[()] = VALUES
    model = read_size_model(with_pickle(tmp_path / "size.npy", pickle.dumps(content, protocol)))
    np.testing.assert_array_equal(model.weights, VALUES["A"])
    assert model.log_mean == 0.125


def test_numbers_may_be_plain_and_more_may_be_there(tmp_path: Path) -> None:
    values = VALUES | {"ymean": 0, "diam_mean": 17, "rescale": True, "note": "text", "list": [1, (2, None)]}
    model = read_size_model(written(tmp_path / "size.npy", values))
    assert (model.log_mean, model.diameter_mean) == (0.0, 17.0)


def test_never_less_than_five_pixels_and_never_infinite() -> None:
    model = SizeModel(np.ones(2), np.zeros(2), log_mean=0.0, diameter_mean=30.0)
    assert model.diameter([-100, -100]) == 5.0
    assert np.isfinite(model.diameter([1e30, 1e30]))
    wild = SizeModel(np.array([1e308, -1e308]), np.zeros(2), log_mean=0.0, diameter_mean=30.0)
    assert wild.diameter([1e10, 1e10]) == 30.0


@pytest.mark.parametrize("style", [np.zeros(3), np.zeros((1, 2)), np.array(["a", "b"]), np.array([1.0, np.nan])])
def test_other_styles_are_refused(style: np.ndarray) -> None:
    with pytest.raises(InputError, match="style"):
        SizeModel(np.ones(2), np.zeros(2), log_mean=0.0, diameter_mean=30.0).diameter(style)


# ---------------------------------------------------------------------------------- hostile


class Evil:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(5))
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, protocol: int) -> None:
    evil = Evil(os.system, f"touch {tmp_path}/ran")
    for content in (evil, VALUES | {"A": evil}, {evil: 1}):
        refused(with_pickle(tmp_path / "size.npy", pickle.dumps(content, protocol)), r"asks to run \w+\.system")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "function", [eval, exec, getattr, __import__, np.load, np.frombuffer, np.array, np.memmap, bytearray, dict, open]
)
def test_not_even_numpys_other_functions_are_run(tmp_path: Path, function: Callable[..., Any]) -> None:
    refused(written(tmp_path / "size.npy", VALUES | {"A": Evil(function, "1")}), "asks to run")


def test_dotted_names_reach_nothing(tmp_path: Path) -> None:
    content = b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tobytes\x93."
    refused(with_pickle(tmp_path / "size.npy", content), "asks to run numpy.ndarray.tobytes")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "damaged"),
        (b"\x80\x04N.", "NoneType; wanted the dictionary"),
        (b"\x80\x04\x82\x01.", "uses EXT1"),
        (b"P1\n.", "uses PERSID"),
        (b"(ios\nsystem\n.", "uses INST"),
        (b"\x80\x04Nr\xff\xff\xff\x7f.", "asks for memory"),
        (b"Np999999999\n.", "asks for memory"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0f.", "damaged"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.", "damaged"),
        (b"\x80\x04" + b"(" * 1000 + b".", "damaged"),
        (b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".", "wanted the dictionary"),
        (b"cnumpy\nndarray\n(NN\x86b.", "damaged|wanted the dictionary"),
        (b"cnumpy\nndarray\n)R(NNNNNtb.", "NumPy would not have written"),
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, content: bytes, text: str) -> None:
    refused(with_pickle(tmp_path / "size.npy", content), text)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"A": None}, "has no 'A'"),
        ({"ymean": None}, "has no 'ymean'"),
        ({"A": 3.0}, "A is a float; wanted an array"),
        ({"A": np.zeros(4)}, "do not fit"),
        ({"A": np.zeros(0), "smean": np.zeros(0)}, "array of 0 bytes"),
        ({"A": np.array([1.0, np.nan, 2.0])}, "NaN or infinity"),
        ({"A": np.array(["a", "b", "c"])}, "wanted numbers"),
        ({"A": np.array([1j, 2, 3])}, "wanted numbers"),
        ({"A": np.array([None, 2, 3], object)}, "wanted numbers"),
        ({"A": np.zeros(3, [("x", "f8")])}, "wanted numbers"),
        ({"ymean": float("nan")}, "ymean is a float; wanted one finite number"),
        ({"ymean": np.float64("inf")}, "NaN or infinity"),
        ({"ymean": 10**400}, "ymean is a int"),
        ({"ymean": True}, "ymean is a bool"),
        ({"ymean": "0"}, "ymean is a str"),
        ({"ymean": np.zeros(2)}, "ymean is a ndarray; wanted one finite number"),
        ({"diam_mean": 0.0}, "diameter_mean is 0.0"),
    ],
)
def test_dictionaries_that_are_no_size_model(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    values = {name: value for name, value in (VALUES | change).items() if value is not None}
    refused(written(tmp_path / "size.npy", values), text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"PK\x03\x04", "begins with"),
        (b"\x93NUMPY", "damaged"),
        (b"\x93NUMPY\x09\x00v\x00{}", "damaged"),
        (b"\x93NUMPY\x01\x00\x04\x00{}  ", "damaged"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "damaged"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, text: str) -> None:
    refused(from_bytes(tmp_path / "size.npy", data), text)


def test_arrays_of_numbers_are_no_size_model(tmp_path: Path) -> None:
    refused(written(tmp_path / "a.npy", np.zeros((2, 3))), r"<f8.*\(2, 3\).*wanted a size model")
    refused(written(tmp_path / "b.npy", np.array([{}, {}], object)), r"\|O.*\(2,\).*wanted a size model")


def test_what_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path, "folder")
    refused(tmp_path / "nothing.npy", "no such file")
    refused(from_bytes(tmp_path / "large.npy", bytes(2**20 + 1)), "has 1048577 bytes; wanted at most 1048576")


@given(st.data(), st.sampled_from([NUMPY_1, NUMPY_2]))
@settings(max_examples=100)
def test_damage_is_an_error_or_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, original: bytes
) -> None:
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / "size.npy"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        model = read_size_model(path)
    except ModelError:
        return
    assert np.isfinite(model.diameter(np.zeros(model.weights.shape)))


@pytest.mark.peer
def test_equals_cellpose(tmp_path: Path) -> None:
    models = pytest.importorskip("cellpose.models")
    rng = np.random.default_rng(0)
    values = {"A": rng.normal(size=256), "smean": rng.normal(size=256) / 16, "diam_mean": 17.0, "ymean": 0.3}
    path = written(tmp_path / "size.npy", values)

    class Network:
        device, diam_mean, pretrained_model = "cpu", 30.0, "x"

    peer = models.SizeModel(Network(), pretrained_size=str(path))
    model = read_size_model(path)
    for style in rng.normal(size=(20, 256)).astype(np.float32) / 16:
        assert model.diameter(style) == pytest.approx(float(peer._size_estimation(style)), rel=1e-6)
