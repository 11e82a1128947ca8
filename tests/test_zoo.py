"""Names of models to files: found in place, fetched, checked, and refused in plain words."""

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from flowseg import checkpoint, cli, late, registry, zoo
from flowseg.download import Limits
from flowseg.errors import DownloadError, FlowsegError, ModelError, OptionError
from flowseg.model_config import Architecture, ModelConfig, Thresholds
from flowseg.segment import load_model
from tests.networks import TINY, scrambled
from tests.servers import Server, serving
from tests.shapes import solid_cells

QUICK = Limits(timeout=2, attempts=2, backoff=0.01)


def old_model(seed: int = 0) -> bytes:
    """Return a file as Cellpose 1 wrote it, which does not say its diameter; small."""
    weights = {name: each for name, each in scrambled(TINY, seed).state_dict().items() if not name.startswith("diam")}
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def size_model(style: int = 5) -> bytes:
    values = {"A": np.full(style, 0.1), "smean": np.zeros(style), "ymean": 0.1, "diam_mean": 17.0}
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)  # type: ignore[arg-type]
    return buffer.getvalue()


KNOWN, UNKNOWN, SIZES = old_model(1), old_model(2), size_model()
REGISTRY = f"""
refused.cpsam = "of Cellpose 4"
licences.cellpose = {{ name = "BSD-3-Clause", note = "Not certain." }}
licences.flowseg = {{ name = "MIT", note = "" }}
data.cells = "cells"
citations.paper = "A paper"

[[model]]
name = "ours"
kind = "shipped"
file = "ours/ours.safetensors"
licence = "flowseg"
data = "cells"
cite = ["paper"]
description = "comes along"

[[model]]
name = "known"
aliases = ["knowntorch_0"]
kind = "cellpose"
file = "knowntorch_0"
size = {len(KNOWN)}
sha256 = "{hashlib.sha256(KNOWN).hexdigest()}"
size_model = "size_known.npy"
diameter_mean = 17.0
channels = ["nucleus", "none"]
data = "cells"
cite = ["paper"]
description = "digest in the registry"

[[model]]
name = "unknown"
kind = "cellpose"
file = "unknown"
data = "cells"
cite = ["paper"]
description = "digest nowhere"
"""


@dataclass
class Place:
    """A machine: flowseg's folder, Cellpose's, the registry's, and a mirror."""

    models: Path
    cellpose: Path
    registry: Path
    server: Server


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up a machine without models and without a network."""
    monkeypatch.setenv("FLOWSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path / "cellpose"))
    monkeypatch.setenv("FLOWSEG_MODELS_URL", "http://127.0.0.1:9/")
    return tmp_path


@pytest.fixture
def place(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with serving() as server:
        for name, data in {"knowntorch_0": KNOWN, "size_known.npy": SIZES, "unknown": UNKNOWN}.items():
            server.put(f"models/{name}", data)
        monkeypatch.setenv("FLOWSEG_MODELS_URL", server.url("models/"))
        given = Place(bare / "home" / "models", bare / "cellpose", bare / "registry", server)
        given.cellpose.mkdir()
        given.registry.mkdir()
        (given.registry / "registry.toml").write_text(REGISTRY)
        monkeypatch.setattr(registry, "folder", lambda: given.registry)
        registry._registry.cache_clear()
        yield given
        registry._registry.cache_clear()


def test_every_name_of_the_registry_is_whole() -> None:
    names = [name for entry in zoo.entries() for name in (entry.name, *entry.aliases)]
    assert len(set(names)) == len(names)
    wanted = "cyto cyto2 cyto3 cellpose/nuclei nuclei cyto2_cp3 tissuenet_cp3 livecell_cp3 yeast_PhC_cp3 yeast_BF_cp3 "
    wanted += "bact_phase_cp3 bact_fluor_cp3 deepbacs_cp3 CP CPx TN1 TN2 TN3 LC1 LC2 LC3 LC4 cytotorch_0 cyto2torch_0 "
    wanted += "neurips_cellpose_default neurips_grayscale_cyto2"
    assert set(wanted.split()) <= set(names)
    for entry in zoo.entries():
        assert entry.description
        assert entry.data
        assert entry.licence_note
        assert entry.citations
        assert len(entry.channels) == (3 if entry.name in ("nuclei", "neurips_cellpose_default") else 2)
        assert entry.diameter_mean == {"cellpose/nuclei": 17, "nuclei": 34}.get(entry.name, 30)
        assert all(file.sha256 is None or len(file.sha256) == 64 for file in entry.files)
    assert zoo.find("cellpose/nuclei").file.name == "nucleitorch_0"
    assert zoo.find("cellpose/cyto3") is zoo.find("cyto3")
    sizes = {entry.name for entry in zoo.entries() if entry.size_model}
    assert sizes == {"cyto", "cyto2", "cyto3", "cellpose/nuclei"}


@pytest.mark.parametrize("name", ["denoise_cyto3", "oneclick_rec_nuclei", "aniso_cyto2", "cpsam", "transformer_cp3"])
def test_models_that_are_not_for_flowseg_are_refused_by_name(name: str) -> None:
    with pytest.raises(ModelError, match=f"^{name} is .*Cellpose [34].* cyto3$"):
        zoo.resolve(name)


def test_a_model_is_fetched_once_with_its_size_model(place: Place) -> None:
    told: list[str] = []
    for _ in range(2):
        found = zoo.resolve("known", limits=QUICK, progress=lambda name, done, total: told.append(name))
    assert found == zoo.Located(place.models / "knowntorch_0", zoo.find("known"), place.models / "size_known.npy")
    assert found.path.read_bytes() == KNOWN
    assert [path for path, _ in place.server.requests] == ["models/size_known.npy", "models/knowntorch_0"]
    assert set(told) == {"size_known.npy", "knowntorch_0"}
    assert [each.against for each in zoo.verify("known")] == ["first seen", "registry"]


def test_another_mirror_by_parameter(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSEG_MODELS_URL", "http://127.0.0.1:9/")
    assert zoo.resolve("unknown", url=place.server.url("models"), limits=QUICK).path.read_bytes() == UNKNOWN
    assert zoo.fetch("unknown").path.read_bytes() == UNKNOWN  # is here


def test_the_first_digest_seen_is_kept_and_another_refused(place: Place) -> None:
    path = zoo.fetch("unknown").path
    assert json.loads((place.models / zoo.RECORD).read_bytes())["unknown"]["size"] == len(UNKNOWN)
    path.unlink()
    place.server.put("models/unknown", KNOWN)
    with pytest.raises(DownloadError, match=r"the first one seen, kept in .*digests\.json"):
        zoo.fetch("unknown", limits=QUICK)
    assert not path.exists()
    path.write_bytes(KNOWN)
    for ask in (zoo.resolve, zoo.fetch, zoo.verify):
        with pytest.raises(ModelError, match=r"not the file it should be.*the first one seen"):
            ask("unknown")
    (place.models / zoo.RECORD).unlink()  # the way out that the message names
    assert zoo.resolve("unknown").path == path


def test_wrong_bytes_are_refused_wherever_they_lie(place: Place) -> None:
    place.server.put("models/knowntorch_0", UNKNOWN)
    with pytest.raises(DownloadError, match="is not the file it should be"):
        zoo.resolve("known", limits=QUICK)
    assert not (place.models / "knowntorch_0").exists()
    for home in (place.cellpose, place.models):
        (home / "knowntorch_0").write_bytes(UNKNOWN)
        with pytest.raises(ModelError, match="Remove it") as caught:
            zoo.resolve("known")
        assert str(home / "knowntorch_0") in str(caught.value)


def test_the_folder_of_cellpose_is_used_in_place(place: Place) -> None:
    (place.cellpose / "knowntorch_0").write_bytes(KNOWN)
    (place.cellpose / "unknown").write_bytes(UNKNOWN)
    assert zoo.resolve("known") == zoo.Located(place.cellpose / "knowntorch_0", zoo.find("known"), None)
    assert zoo.resolve("unknown").path == place.cellpose / "unknown"
    assert [each.against for each in zoo.verify("unknown")] == ["nothing"]
    assert not place.models.exists()
    assert place.server.requests == []
    found = zoo.fetch("known", limits=QUICK)  # what is missing is fetched, what is there is not
    assert found.size_model_path == place.models / "size_known.npy"
    assert found.path.parent == place.cellpose


def test_a_file_put_by_hand_where_the_message_says(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSEG_MODELS_URL", "http://127.0.0.1:9/models")
    with pytest.raises(DownloadError) as caught:
        zoo.resolve("known", limits=QUICK)
    for path in (place.models / "knowntorch_0", place.models / "size_known.npy"):
        assert f"\n  {path}" in str(caught.value)
    (place.models / "knowntorch_0").write_bytes(KNOWN)
    assert zoo.resolve("known").path == place.models / "knowntorch_0"


def test_two_fetches_at_once(place: Place) -> None:
    place.server.files["models/unknown"].pause = 0.1
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: zoo.fetch("unknown", limits=QUICK), range(4)))
    assert len(set(found)) == 1
    assert len(place.server.requests) == 1
    assert set(json.loads((place.models / zoo.RECORD).read_bytes())) == {"unknown"}


@pytest.mark.parametrize("record", [b"", b"[]", b'{"unknown": 5}', b"\xff\xfe"])
def test_a_record_that_is_damaged_is_told(place: Place, record: bytes) -> None:
    place.models.mkdir(parents=True)
    (place.models / zoo.RECORD).write_bytes(record)
    with pytest.raises(ModelError, match="repair or remove it"):
        zoo.fetch("unknown", limits=QUICK)


@pytest.mark.parametrize(
    ("error", "way"), [(PermissionError(13, "no"), True), (OSError(30, "no"), True), (OSError(28, "full"), False)]
)
def test_a_folder_that_others_keep_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: OSError, way: bool
) -> None:
    def refuse(*_: object) -> None:
        raise error

    place.models.mkdir(parents=True)
    (place.models / "unknown").write_bytes(UNKNOWN)
    monkeypatch.setattr(zoo.files, "write_whole", refuse)
    if way:
        assert [each.against for each in zoo.verify("unknown")] == ["nothing"]
        return
    with pytest.raises(ModelError, match=r"digests\.json cannot be written: full"):
        zoo.verify("unknown")


def test_a_path_that_exists_wins(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("known").mkdir()  # a folder of results
    assert zoo.resolve("known", limits=QUICK).entry is zoo.find("known")
    Path("unknown").write_bytes(KNOWN)
    assert zoo.resolve("unknown") == zoo.Located(Path("unknown"))
    Path("unknown_size.npy").write_bytes(SIZES)
    assert zoo.resolve(Path("unknown")).size_model_path == Path("unknown_size.npy")


def test_a_file_is_known_by_its_name_and_digest(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "knowntorch_0"
    path.write_bytes(UNKNOWN)
    assert zoo.resolve(path).entry is None
    path.write_bytes(KNOWN)
    path.with_name("size_known.npy").write_bytes(SIZES)
    assert zoo.resolve(path) == zoo.Located(path, zoo.find("known"), path.with_name("size_known.npy"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./cyto3", "no such file"),
        ("models/cyto3", "no such file"),
        ("../cyto3", "no such file"),
        ("cellpose/../../etc/passwd", "no such file"),
        ("mine.pth", "no such file"),
        ("~/mine", "no such file"),
        ("cyto4", "did you mean cyto"),
        ("CYTO3", "did you mean cyto3"),
        ("whatever", "There are: nuclei, cyto3"),
        ("cpsam", "Segment Anything transformer of Cellpose 4"),
        ("transformer_cp3", "SegFormer"),
        ("", "wanted a name"),
        (" ", "wanted a name"),
        ("a\0b", "wanted a name"),
    ],
)
def test_what_is_no_model_is_told_and_never_replaced(bare: Path, name: str, message: str) -> None:
    with pytest.raises((ModelError, OptionError), match=message):
        zoo.resolve(name)
    with pytest.raises(FlowsegError):
        load_model(name)


@pytest.mark.parametrize("file", ["../x", "a/b", "..", ".", "", "a\\b", "C:x", "/etc/passwd"])
def test_names_of_files_that_leave_the_folder_are_refused(place: Place, file: str) -> None:
    text = REGISTRY.replace('file = "unknown"', f"file = '{file}'")
    (place.registry / "registry.toml").write_text(text)
    registry._registry.cache_clear()
    with pytest.raises(ModelError, match="wanted a plain name"):
        zoo.resolve("unknown")
    text = REGISTRY.replace('file = "ours/ours.safetensors"', 'file = "../../x"')
    (place.registry / "registry.toml").write_text(text)
    with pytest.raises(ModelError, match="wanted a plain name"):
        zoo.resolve("ours")


def test_a_model_that_does_not_come_along_is_told(place: Place) -> None:
    for ask in (zoo.resolve, zoo.fetch, zoo.verify):
        with pytest.raises(ModelError, match=r"ships no model named ours: .*--model cyto3"):
            ask("ours")
    assert place.server.requests == []
    path = place.registry / "ours" / "ours.safetensors"
    path.parent.mkdir()
    checkpoint.write_flowseg(path, ModelConfig(architecture=TINY, licence="X"), scrambled().state_dict())
    assert zoo.resolve("ours").path == path
    assert zoo.read(zoo.resolve("ours")).config.licence == "X"  # it speaks for itself
    assert not (place.models / zoo.RECORD).exists()


def test_the_registry_completes_what_a_file_says(place: Place, tmp_path: Path) -> None:
    config = zoo.read(zoo.resolve("known", limits=QUICK)).config
    assert (config.name, config.diameter_mean) == ("known", 17.0)
    assert (config.licence, config.citation, config.training_data) == ("BSD-3-Clause", "A paper", "cells")
    assert config.channel_names == ("nucleus", "none")
    (tmp_path / "mine").write_bytes(KNOWN)
    assert zoo.read(zoo.resolve(tmp_path / "mine")).config.diameter_mean == 30.0


def test_a_model_by_name_segments_at_its_predicted_diameter(place: Place) -> None:
    zoo.fetch("known", limits=QUICK)
    image = np.where(solid_cells(80, 20, seed=1) > 0, 200, 10)
    model = load_model("known", device="cpu", precision="fp32")
    assert model.description["size_models"] == [hashlib.sha256(SIZES).hexdigest()]
    assert model.config.diameter_mean == 17.0
    assert model.segment(image, diameter=12).diameter == 12
    assert model.segment(image).diameter != 17
    (place.models / "size_known.npy").unlink()
    assert not load_model("known", device="cpu", precision="fp32").description["size_models"]


def test_a_size_model_of_another_network_is_refused(place: Place, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(KNOWN)
    (tmp_path / "mine_size.npy").write_bytes(size_model(256))
    with pytest.raises(ModelError, match="wants styles of 256 numbers"):
        load_model(tmp_path / "mine")


def test_folders_of_each_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "FLOWSEG_HOME", "CELLPOSE_LOCAL_MODELS_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert zoo._user_cache("linux") == tmp_path / ".cache" / "flowseg"
    assert zoo._user_cache("darwin") == tmp_path / "Library" / "Caches" / "flowseg"
    assert zoo._user_cache("win32") == tmp_path / "AppData" / "Local" / "flowseg"
    assert zoo.cellpose_folder() == tmp_path / ".cellpose" / "models"
    assert zoo.folder() == zoo._user_cache(sys.platform) / "models"


# ------------------------------------------------------------------------------------------- the command line


def flowseg(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.main, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_the_list_tells_what_is_here_and_where(place: Place) -> None:
    (place.cellpose / "unknown").write_bytes(UNKNOWN)
    lines = flowseg("models", "list").splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["ours", "-"], ["known", "-"], ["unknown", "here"]]
    assert str(place.cellpose) in lines[-1]
    assert lines[-1].endswith("unknown")
    rows = json.loads(flowseg("models", "list", "--json"))
    assert {row["name"]: row["path"] for row in rows} == {
        "ours": None,
        "known": None,
        "unknown": str(place.cellpose / "unknown"),
    }
    assert rows[1]["size_model"] == "size_known.npy"


def test_show_tells_terms_and_citation(place: Place) -> None:
    text = flowseg("models", "show", "knowntorch_0")
    for part in ("known, also knowntorch_0", "17 pixels", "Not certain.", "A paper", "size_known.npy"):
        assert part in text
    assert json.loads(flowseg("models", "show", "known", "--json"))["file"]["size"] == len(KNOWN)
    assert "did you mean known" in flowseg("models", "show", "knwon", code=1)


def test_show_tells_the_thresholds_of_a_model_that_comes_along() -> None:
    lines = flowseg("models", "show", "nuclei").splitlines()
    told = next(line for line in lines if line.split()[0] == "brightfield")
    assert "flow error" in told
    assert told.index("cell probability") == next(line for line in lines if line.startswith("licence")).index("CC0")


def test_an_export_that_needs_nchan_says_so(tmp_path: Path) -> None:
    assert "from Python alone, with nchan=3" in flowseg("models", "export", "nuclei", str(tmp_path / "cp"))
    assert "nchan" not in flowseg("models", "export", "nuclei", str(tmp_path / "ours.safetensors"))


def test_fetch_and_verify(place: Place) -> None:
    assert "no model is here" in flowseg("models", "verify")
    assert str(place.models / "knowntorch_0") in flowseg("models", "fetch", "known", "unknown")
    assert flowseg("models", "verify").count(" is ") == 3
    (place.models / "unknown").write_bytes(b"damaged")
    text = flowseg("models", "verify", code=1)
    assert "unknown: " in text
    assert "is right" in text  # the others are still looked at
    assert "ships no model named ours" in flowseg("models", "verify", "ours", code=1)
    (place.models / "knowntorch_0").unlink()
    assert "'flowseg models fetch known' fetches it" in flowseg("models", "verify", "known", code=1)


def test_files_are_shown_and_verified_too(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    groups = {"round": Thresholds(cellprob_threshold=-1.5, diameter=21.0)}
    architecture = Architecture(widths=(4, 6), style=False)
    config = ModelConfig(architecture=architecture, diameter_mean=19.0, min_size=7, group_thresholds=groups)
    digest = checkpoint.write_flowseg(path, config, scrambled(architecture).state_dict())
    text = flowseg("models", "show", str(path))
    for part in (str(path), digest, "4, 6, not style", "19 pixels", "smallest 7", "round", "-1.5", "21 pixels"):
        assert part in text
    told = json.loads(flowseg("models", "show", str(path), "--json"))
    assert (told["sha256"], told["architecture"]["widths"], told["min_size"]) == (digest, [4, 6], 7)
    assert flowseg("models", "verify", str(path)).startswith(f"{path} reads whole")
    path.write_bytes(path.read_bytes()[:-40])
    assert str(path) in flowseg("models", "verify", str(path), code=1)
    known = tmp_path / "knowntorch_0"
    known.write_bytes(KNOWN)
    assert f"{known} is right" in flowseg("models", "verify", str(known))
    assert "A paper" in flowseg("models", "show", str(known))
    assert "is a folder" in flowseg("models", "show", str(tmp_path), code=1)
    assert "no such file" in flowseg("models", "verify", str(tmp_path / "gone"), code=1)
    assert f"no model named '{path}'\n" in flowseg("models", "fetch", str(path), code=1)  # the file is there


def test_fetch_from_a_wrong_address(place: Place) -> None:
    assert "answers 404" in flowseg("models", "fetch", "unknown", "--url", place.server.url("x"), code=1)


def test_export_and_back(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    flowseg("models", "export", "known", str(out))
    config = checkpoint.read(out).config
    assert (config.name, config.diameter_mean, config.licence) == ("known", 17.0, "BSD-3-Clause")
    assert "is there already" in flowseg("models", "export", "known", str(out), code=1)
    flowseg("models", "export", str(out), str(out), "--overwrite")
    text = flowseg("models", "export", "known", str(tmp_path / "cp"), code=1)  # too small for Cellpose
    assert "Cellpose 3 cannot run" in text
    assert not (tmp_path / "cp").exists()


def test_segment_takes_names_and_has_a_default(place: Place, tmp_path: Path) -> None:
    import tifffile

    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.zeros((40, 40), np.uint8))
    given = ["segment", str(tmp_path / "images"), "-o", str(tmp_path / "out")]
    assert "no model named 'nuclei'" in flowseg(*given, code=1)
    flowseg(*given, "--model", "known", "--device", "cpu", "--quiet")
    record = json.loads((tmp_path / "out" / "run.json").read_bytes())
    assert record["model"]["models"] == ["known"]
    assert record["model"]["size_models"] == [hashlib.sha256(SIZES).hexdigest()]


def test_a_slow_download_shows_a_bar(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "PATIENCE", 0.0)
    assert "fetching unknown ..." in flowseg("models", "fetch", "unknown")


def test_every_subcommand_has_an_example() -> None:
    command = cli.main.commands["models"]
    assert isinstance(command, click.Group)
    for name in command.commands:
        assert f"flowseg models {name}" in flowseg("models", name, "--help").split("Examples:")[1]


def test_the_list_needs_nothing_heavy(bare: Path) -> None:
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom flowseg.cli import main\n"
        "assert CliRunner().invoke(main, ['models', 'list']).exit_code == 0\n"
        "print(sorted({'torch', 'numba', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_of_ones_own_in_the_folder_of_cellpose_is_named_with_its_path(bare: Path) -> None:
    (bare / "cellpose").mkdir()
    (bare / "cellpose/CP_mine").touch()
    with pytest.raises(ModelError) as error:
        zoo.resolve("CP_mine")
    assert str(error.value) == f"CP_mine has to be named with its path: {bare / 'cellpose/CP_mine'}"


def test_the_folder_of_a_training_says_which_file_is_its_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"wanted a model file$"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=r"wanted a model file: .*model\.safetensors$"):
        load_model(tmp_path)
