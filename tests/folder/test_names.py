"""Names of results: never two alike, whatever the images are called."""

from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given, settings

from flowseg.folder._names import last_parts, named

PARTS = st.sampled_from(["a", "A", "b", "a.tif", "a.png", "a.tif.png", "a_flows"])
FILES = st.builds(
    lambda folder, stem, suffix: Path("/r", *folder, stem + suffix),
    st.lists(st.sampled_from(["x", "y"]), max_size=2),
    PARTS,
    st.sampled_from([".tif", ".png", ".TIF", ".npz"]),
)


@settings(max_examples=300)
@given(st.lists(FILES, unique=True, max_size=8), st.sampled_from(["", "_flows"]))
def test_every_file_gets_a_name_of_its_own(paths: list[Path], drop: str) -> None:
    names = named(paths, drop)
    assert list(names.values()) == paths
    folded = [name.casefold() for name in names]
    if len({str(path).casefold() for path in paths}) == len(paths):
        assert len(set(folded)) == len(paths)


def test_names_that_clash_get_their_suffix() -> None:
    assert list(named([Path(name) for name in ("a.tif", "a.png", "b.tif", "sub/a.tif")])) == [
        "a.tif",
        "a.png",
        "b",
        "sub/a",
    ]
    assert list(named([Path("A.tif"), Path("a.png")])) == ["A.tif", "a.png"]
    assert list(named([Path("r/a_flows.npz"), Path("r/s/b_flows.npz")], "_flows")) == ["a", "s/b"]
    assert named([]) == {}


def test_the_last_part_where_that_is_enough() -> None:
    assert last_parts(["x/a", "y/a", "y/b"]) == {"x/a": "x/a", "y/a": "y/a", "y/b": "b"}


def test_results_taken_up_again_keep_their_names() -> None:
    images = [Path("/r/a.png"), Path("/r/A.png"), Path("/r/a.tif"), Path("/r/b.png")]
    names = list(named(images))
    flows = [Path(f"/out/{name}_flows.npz") for name in names]
    assert list(named(flows, drop="_flows")) == names
