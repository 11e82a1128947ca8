"""The house: a module imports only what stands below it. The table is the architecture."""

import ast
import re
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "flowseg"

# Rooms every room may use.
GROUND = {"errors", "checks", "model_config", "options", "arrays", "threads", "files", "filelock", "interrupts", "late"}
GROUND |= {"json_values", "machine", "names", "words"}
GROUND_LIBRARIES = {"numpy"}

# room: (rooms of ours, libraries of others). Data walks one way, so the graph has no cycles.
TABLE: dict[str, tuple[set[str], set[str]]] = {
    "__init__": (set(), set()),
    "__main__": ({"cli"}, set()),
    "errors": (set(), set()),
    "checks": ({"errors"}, set()),
    "model_config": ({"errors", "checks"}, set()),
    "options": ({"errors", "checks", "model_config"}, set()),
    "arrays": ({"errors"}, {"fastremap"}),
    "threads": ({"errors", "machine"}, set()),
    "filelock": (set(), set()),
    "files": (set(), set()),
    "interrupts": (set(), set()),
    "late": (set(), set()),
    "machine": (set(), set()),
    "names": (set(), set()),
    "json_values": (set(), set()),
    "words": (set(), set()),
    "pickles": (set(), set()),
    "measure": ({"kernels", "labels", "flows", "notebook"}, set()),
    "kernels": (set(), {"numba"}),
    "instances": ({"kernels"}, set()),
    "images": ({"kernels"}, set()),
    "percentiles": ({"kernels"}, set()),
    "spikes": (set(), set()),
    "normalize": ({"images", "percentiles", "spikes"}, {"scipy"}),
    "channels": ({"images", "normalize"}, set()),
    "labels": ({"kernels"}, set()),
    "overlaps": ({"kernels", "instances", "labels"}, set()),
    "boundaries": ({"kernels", "instances"}, set()),
    "rle": ({"kernels", "instances"}, set()),
    "flows": ({"kernels"}, set()),
    "dynamics": ({"kernels", "flows", "labels"}, set()),
    "metrics": ({"kernels", "instances"}, {"scipy"}),
    "augment": ({"kernels"}, {"scipy"}),
    "network": (set(), {"torch"}),
    "checkpoint": ({"network", "pickles"}, {"torch", "safetensors"}),
    "connection": (set(), {"certifi"}),
    "download": ({"connection"}, set()),
    "registry": (set(), set()),
    "zoo": ({"checkpoint", "download", "registry"}, set()),
    "engines": ({"network", "kernels"}, {"torch", "openvino", "threadpoolctl", "scipy", "llvmlite"}),
    "tiles": (set(), set()),
    "predict": ({"images", "tiles", "engines"}, set()),
    "segmentation": ({"colours", "dynamics", "images", "instances", "measure", "rle", "plots", "notebook"}, set()),
    "segment": (
        {"predict", "dynamics", "zoo", "checkpoint", "engines", "labels", "images", "channels", "normalize"}
        | {"segmentation"},
        set(),
    ),
    "sources": ({"kernels", "images", "rle", "instances", "pickles"}, {"tifffile", "PIL"}),
    "exports": (
        {"labels", "rle", "instances", "boundaries", "colours"},
        {"tifffile", "PIL", "roifile", "pyarrow"},
    ),
    "convert": ({"sources", "exports", "overlaps", "instances", "rle", "measure"}, set()),
    "dataset": ({"sources", "augment", "kernels", "channels", "normalize", "labels", "overlaps"}, set()),
    "training": (
        {
            "dataset",
            "network",
            "checkpoint",
            "sources",
            "segment",
            "segmentation",
            "metrics",
            "colours",
            "plots",
            "augment",
            "channels",
        }
        | {"engines", "images", "instances", "overlaps", "zoo", "tune", "notebook"},
        {"torch"},
    ),
    "tune": ({"dynamics", "instances", "kernels", "metrics"}, {"scipy"}),
    "synthetic": ({"instances", "rle"}, {"scipy", "PIL"}),
    "inspection": ({"sources", "instances", "kernels"}, set()),
    "contact_sheet": ({"sources", "instances", "boundaries", "colours"}, {"PIL"}),
    "evaluate": (
        {"sources", "instances", "metrics", "overlaps", "colours", "labels", "report", "exports"} | {"notebook"},
        {"PIL"},
    ),
    "folder": (
        {"segment", "segmentation", "exports", "sources", "rle", "images", "dynamics", "instances", "measure", "report"}
        | {"notebook"},
        set(),
    ),
    "colours": ({"labels", "percentiles"}, {"PIL"}),
    "plots": ({"colours", "labels", "images", "instances", "figures"}, {"matplotlib"}),
    "figures": (set(), {"matplotlib"}),
    "notebook": (set(), set()),
    "report": (
        {"boundaries", "instances", "colours", "sources", "dataset", "augment", "channels", "flows", "inspection"},
        {"PIL"},
    ),
}
# The command line and the doctor sit on top: any room, imported inside the command.
TOP = ("doctor", "cli")
TABLE["doctor"] = (set(TABLE) - {"__main__"}, {"torch", "numba"})
TABLE["cli"] = (set(TABLE) - {"__main__"}, {"click", "rich"})


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(tree: ast.AST) -> set[str]:
    """Dotted names that a module imports, those under TYPE_CHECKING left out."""
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out in full"
            if node.module == "flowseg":
                found |= {f"flowseg.{alias.name}" for alias in node.names if not alias.name.startswith("__")}
            elif node.module:
                found.add(node.module)
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    room = room_of(path)
    assert room in TABLE, f"{room} has no line in the table of rooms"
    rooms, libraries = TABLE[room]
    for name in imports_of(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] == "flowseg":
            wanted = parts[1] if len(parts) > 1 else "__init__"
            assert wanted in rooms | GROUND | {room, "__init__"}, f"{room} imports flowseg.{wanted}"
        elif parts[0] not in sys.stdlib_module_names:
            assert parts[0] in libraries | GROUND_LIBRARIES, f"{room} imports {parts[0]}"


@pytest.mark.parametrize("room", [room for room in TABLE if room not in (*GROUND, *TOP)])
def test_the_table_allows_nothing_that_nobody_imports(room: str) -> None:
    imported = {name for path in MODULES if room_of(path) == room for name in imports_of(ast.parse(path.read_text()))}
    parts = [name.split(".") for name in imported]
    rooms, libraries = TABLE[room]
    assert rooms - {each[1] for each in parts if each[0] == "flowseg" and len(each) > 1} == set()
    assert libraries - {each[0] for each in parts} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_stay_in_their_file_or_folder(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        for alias in node.names:
            parts = [*node.module.split("."), alias.name]
            private = next((place for place, part in enumerate(parts) if re.match("_[^_]", part)), None)
            home = PACKAGE.parent.joinpath(*parts[:private])
            assert private is None or home in path.parents, f"{'.'.join(parts)} is private"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_text_is_read_in_an_encoding_of_its_own(path: Path) -> None:
    """Not in that of the machine, which on Windows is an older one."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        first = node.args[0] if node.args else ast.Constant("")
        named = any(keyword.arg == "encoding" for keyword in node.keywords)
        if called == "read_text":
            assert node.args or named, f"line {node.lineno}"
        elif called == "open" and isinstance(first, ast.Constant):
            assert "b" in first.value or named, f"line {node.lineno}"


def test_the_table_has_no_cycles() -> None:
    graph = {room: rooms | (GROUND - {room} if room not in GROUND else set()) for room, (rooms, _) in TABLE.items()}
    done: set[str] = set()

    def visit(room: str, above: tuple[str, ...]) -> None:
        assert room not in above, " -> ".join((*above, room))
        if room in done:
            return
        for below in graph.get(room, set()):
            visit(below, (*above, room))
        done.add(room)

    for room in graph:
        visit(room, ())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_load_when_first_used(path: Path) -> None:
    """Commands and the package itself import nothing heavy at module level."""
    if room_of(path) not in {"__init__", "__main__", "cli"}:
        return
    tree = ast.parse(path.read_text())
    top = ast.Module(
        body=[node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], type_ignores=[]
    )
    light = {"click", "flowseg"} | sys.stdlib_module_names
    assert {name.split(".")[0] for name in imports_of(top)} <= light
    ours = {name.split(".")[1] for name in imports_of(top) if name.startswith("flowseg.")}
    assert ours <= {"cli", "errors", "late", "options", "words"}, ours
