"""What the package promises: its names, and that importing it costs next to nothing."""

import copy
import pickle
import subprocess
import sys

import pytest

import flowseg
from flowseg import FlowsegError, errors

PROMISED = {
    "FlowsegError",
    "__version__",
    "compare",
    "flows_to_masks",
    "labels",
    "load_model",
    "masks_to_flows",
    "metrics",
    "open_data",
    "plots",
    "read_image",
    "read_labels",
    "rle",
    "segment_folder",
    "train",
    "tune",
}


def test_all_holds_what_is_promised() -> None:
    assert set(flowseg.__all__) == PROMISED
    assert flowseg.__all__ == sorted(flowseg.__all__)
    assert dir(flowseg) == sorted(PROMISED)


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_every_name_is_there(name: str) -> None:
    assert getattr(flowseg, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'segmnt'"):
        flowseg.segmnt  # noqa: B018


def test_import_loads_nothing_heavy() -> None:
    script = "import sys, flowseg; print(sorted({'torch', 'numba', 'numpy', 'scipy', 'skimage'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", [errors.InputError, errors.OptionError, errors.ModelError, errors.DownloadError])
def test_errors_travel_between_processes(kind: type[FlowsegError]) -> None:
    for error in (kind("a.png is empty"), errors.MissingExtra("openvino", extra="cpu")):
        sent = pickle.loads(pickle.dumps(error))
        assert (type(sent), str(sent), str(copy.copy(error))) == (type(error), str(error), str(error))
