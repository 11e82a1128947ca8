"""Files of flows: damaged ones are told, whatever the damage is, and however they were packed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowseg.errors import FlowsegError
from flowseg.exports import flows_file

FLOWS = np.random.default_rng(0).normal(size=(3, 12, 12)).astype(np.float32)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_any_damage_is_told(tmp_path: Path, save: Callable[..., Any]) -> None:
    path = tmp_path / "a_flows.npz"
    save(path, flows=FLOWS[:2], cellprob=FLOWS[2], about=np.array("{}"))
    assert (flows_file.read(path).flows == FLOWS[:2]).all()
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(500):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=4):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            flows_file.read(path)
        except FlowsegError:
            refused += 1
    assert refused > 400
