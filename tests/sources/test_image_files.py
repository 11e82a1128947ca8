import io
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowseg.errors import FlowsegError, InputError, MissingExtra, OptionError
from flowseg.images import Image
from flowseg.sources import image_files

RNG = np.random.default_rng(0)
DTYPES = ["bool", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]


def pixels(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = RNG.integers(0, 2 if dtype == "bool" else 120, shape)
    return (values - 50 if dtype[0] in "if" else values).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("layout", ["plain", "deflate", "tiled", "bigtiff"])
def test_tiff_of_every_type(tmp_path: Path, dtype: str, byteorder: str, layout: str) -> None:
    array = pixels((37, 50), dtype)
    options = {
        "plain": {},
        "deflate": {"compression": "zlib", "predictor": dtype[0] in "ui" and dtype[1] < "8"},
        "tiled": {"tile": (16, 32), "compression": "zlib"},
        "bigtiff": {"bigtiff": True, "rowsperstrip": 5},
    }[layout]
    if dtype == "bool" and layout in ("deflate", "tiled"):
        options = {"compression": "zlib"}
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, array, byteorder=byteorder, **options)
    image = image_files.read(file)
    np.testing.assert_array_equal(image.pixels, array[np.newaxis])
    assert image.pixels.dtype == array.dtype
    assert image.path == file
    header = image_files.probe(file)
    assert (header.shape, header.axes, header.dtype) == ((37, 50), "YX", array.dtype)
    assert header.nbytes == header.plane_nbytes == array.nbytes


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_stated_axes_are_taken(tmp_path: Path, kind: str, compression: str | None) -> None:
    array = pixels((2, 3, 20, 30), "u2")
    file = tmp_path / "a.tif"
    tifffile.imwrite(
        file,
        array,
        imagej=kind == "imagej",
        ome=kind == "ome",
        metadata={"axes": "ZCYX"},
        photometric="minisblack",
        compression=compression,
    )
    with pytest.raises(InputError, match=r"a.tif has 2 slices .*--plane Z=1"):
        image_files.read(file)
    image = image_files.read(file, plane="Z=1")
    np.testing.assert_array_equal(image.pixels, array[1])
    header = image_files.probe(file)
    assert (header.axes, header.shape) == ("ZCYX", (2, 3, 20, 30))
    np.testing.assert_array_equal(image_files.read(file, plane={"Z": 0, "C": 2}).pixels, array[0, 2:])
    np.testing.assert_array_equal(image_files.read(file, axes="CZYX", plane="Z=2").pixels, array[:, 2])
    assert header.plane_nbytes == array.nbytes // 2


def test_channel_names(tmp_path: Path) -> None:
    array = pixels((3, 20, 30), "u2")
    file = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        file, array, metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP", "RFP"]}}, photometric="minisblack"
    )
    assert image_files.read(file).channel_names == ("DAPI", "GFP", "RFP")
    tifffile.imwrite(file, array, imagej=True, ome=False, metadata={"axes": "CYX", "Labels": ["a", "b", "c"]})
    assert image_files.read(file).channel_names == ("a", "b", "c")
    tifffile.imwrite(file, array, imagej=True, ome=False, metadata={"axes": "CYX"})
    assert image_files.read(file).channel_names == ()


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("samples", [3, 4])
def test_colour_tiff(tmp_path: Path, planar: str, dtype: str, samples: int) -> None:
    array = pixels((samples, 20, 30), dtype)
    file = tmp_path / "a.tif"
    stored = array if planar == "separate" else array.transpose(1, 2, 0)
    tifffile.imwrite(file, stored, photometric="rgb", planarconfig=planar)
    image = image_files.read(file)
    assert image.color
    np.testing.assert_array_equal(image.pixels, array[:3])


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_that_are_no_colour_are_channels(tmp_path: Path, planar: str) -> None:
    array = pixels((5, 20, 30), "u2")
    file = tmp_path / "a.tif"
    stored = array if planar == "separate" else array.transpose(1, 2, 0)
    tifffile.imwrite(file, stored, photometric="minisblack", planarconfig=planar)
    image = image_files.read(file)
    assert not image.color
    np.testing.assert_array_equal(image.pixels, array)


@pytest.mark.parametrize("metadata", [None, {}])
def test_pages_without_axes_are_asked_about(tmp_path: Path, metadata: dict | None) -> None:
    array = pixels((3, 20, 30), "u2")
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, array, photometric="minisblack", metadata=metadata)
    with pytest.raises(InputError, match=r"a.tif has shape \(3, 20, 30\).*CYX \(3 channels\) or ZYX.*--axes CYX"):
        image_files.read(file)
    np.testing.assert_array_equal(image_files.read(file, axes="CYX").pixels, array)
    np.testing.assert_array_equal(image_files.read(file, axes="ZYX", plane="Z=2").pixels, array[2:])
    assert image_files.probe(file, axes="tyx").axes == "TYX"


def test_channels_last_read_as_thin_pages(tmp_path: Path) -> None:
    array = pixels((20, 30, 5), "u2")
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, array, photometric="minisblack")
    with pytest.raises(InputError, match="which could be YXC"):
        image_files.read(file)
    np.testing.assert_array_equal(image_files.read(file, axes="YXC").pixels, array.transpose(2, 0, 1))


def test_a_large_imagej_stack_has_one_page(tmp_path: Path) -> None:
    """ImageJ writes stacks beyond 4 GB as one page and a run of bytes; here a small one of that kind."""
    array = pixels((4, 2, 20, 30), "u2")
    file = tmp_path / "a.tif"
    description = "ImageJ=1.54\nimages=8\nchannels=2\nslices=4\nhyperstack=true\n"
    tifffile.imwrite(file, array[0, 0], description=description, metadata=None, byteorder=">")
    with tifffile.TiffFile(file) as tif:
        offset = tif.pages[0].dataoffsets[0]
    file.write_bytes(file.read_bytes()[:offset] + array.astype(">u2").tobytes())
    np.testing.assert_array_equal(image_files.read(file, plane="Z=3").pixels, array[3])
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short"):
        image_files.read(file, plane="Z=0")


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_tiny_tiff(tmp_path: Path, shape: tuple[int, int]) -> None:
    array = pixels(shape, "u2")
    for options in [{}, {"imagej": True}, {"ome": True}, {"metadata": None}]:
        tifffile.imwrite(tmp_path / "a.tif", array, **options)
        np.testing.assert_array_equal(image_files.read(tmp_path / "a.tif").pixels[0], array)


def test_several_images_in_a_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    with tifffile.TiffWriter(file) as tif:
        tif.write(pixels((20, 30), "u1"))
        tif.write(pixels((40, 50), "u1"))
    with pytest.raises(InputError, match="holds 2 images"):
        image_files.read(file)


@pytest.mark.parametrize(("kind", "aside"), [(1, pixels((9, 12, 3), "u1")), (4, pixels((37, 50), "bool"))])
def test_previews_and_masks_of_an_image_are_no_further_images(tmp_path: Path, kind: int, aside: np.ndarray) -> None:
    array = pixels((37, 50), "u2")
    file = tmp_path / "a.tif"
    with tifffile.TiffWriter(file) as writer:
        writer.write(array, metadata=None)
        writer.write(aside, subfiletype=kind, metadata=None)
    np.testing.assert_array_equal(image_files.read(file).pixels, array[np.newaxis])
    assert image_files.probe(file).shape == (37, 50)


def test_strips_that_a_file_does_not_list_are_not_made_up(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, pixels((37, 50), "u2"), rowsperstrip=10, compression="zlib", metadata=None)
    with tifffile.TiffFile(file) as tif:
        offsets = tif.pages[0].tags["StripOffsets"].offset
    data = bytearray(file.read_bytes())
    data[offsets + 4 : offsets + 8] = struct.pack("<I", 3)
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"a.tif is damaged: it lists 3 of the 4 pieces"):
        image_files.read(file)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"])
def test_compressions_work_or_name_the_extra(tmp_path: Path, compression: str) -> None:
    array = pixels((37, 50), "u1")
    file = tmp_path / "a.tif"
    PIL.Image.fromarray(array).save(file, compression=compression)
    assert image_files.probe(file).shape == (37, 50)
    needed = compression in ("tiff_lzw", "jpeg")
    if needed and find_spec("imagecodecs") is None:
        name = {"tiff_lzw": "LZW", "jpeg": "JPEG"}[compression]
        with pytest.raises(MissingExtra, match=rf'imagecodecs.*{name} in .*a.tif.*pip install "flowseg\[io\]"'):
            image_files.read(file)
        return
    image = image_files.read(file)
    np.testing.assert_allclose(image.pixels[0].astype(int), array, atol=80 if compression == "jpeg" else 0)


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((5, 6), "c8"))
    with pytest.raises(InputError, match=r"a.tif has type complex64"):
        image_files.read(tmp_path / "a.tif")


def test_options_that_cannot_be_stay_option_errors(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels((5, 6), "u1"))
    with pytest.raises(OptionError):
        image_files.read(tmp_path / "a.tif", axes="QQ")
    with pytest.raises(OptionError):
        image_files.read(tmp_path / "a.tif", plane="X=3")


@pytest.mark.parametrize(
    ("mode", "ending"),
    [(mode, "png") for mode in ("1", "L", "LA", "RGB", "RGBA", "P", "I;16")]
    + [(mode, "bmp") for mode in ("1", "L", "RGB", "P")]
    + [(mode, "jpg") for mode in ("L", "RGB", "CMYK")],
)
def test_pictures(tmp_path: Path, mode: str, ending: str) -> None:
    grey, colour = pixels((20, 30), "u1"), pixels((20, 30, 3), "u1")
    deep = grey.astype(np.uint16) * 300
    source = {"1": grey, "L": grey, "LA": grey, "I;16": deep}.get(mode, colour)
    file = tmp_path / f"a.{ending}"
    picture = PIL.Image.fromarray(source)
    (picture if mode == "I;16" else picture.convert(mode)).save(file)
    image, header = image_files.read(file), image_files.probe(file)
    samples = {"1": (), "L": (), "I;16": (), "LA": (2,), "RGBA": (4,)}.get(mode, (3,))
    assert header.shape == (20, 30, *samples)
    assert header.dtype == image.pixels.dtype
    assert image.color == (source is colour)
    reopened = PIL.Image.open(file)
    expected = np.asarray(reopened.convert({"LA": "L"}.get(mode, "RGB" if image.color else mode)))
    np.testing.assert_array_equal(image.pixels, expected.transpose(2, 0, 1) if image.color else [expected])
    if ending != "jpg" and mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        np.testing.assert_array_equal(image.pixels[0], source[..., 0] if image.color else source)


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    array = pixels((5, 6), "u1")
    PIL.Image.fromarray(array).save(tmp_path / "a.tif", format="PNG")
    tifffile.imwrite(tmp_path / "b.png", array)
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.tif").pixels[0], array)
    np.testing.assert_array_equal(image_files.read(str(tmp_path / "b.png")).pixels[0], array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not an image at all", "is not a TIFF, PNG, JPEG or BMP image: it begins with b'not an.*Fiji saves"),
        (b"II*\0", "a.tif"),
        (b"II*\0\x08\0\0\0", "a.tif"),
        (b"II*\0\xff\xff\xff\xff", "a.tif"),
        (b"MM\0*\0\0\0\x08\0\0", "a.tif"),
        (b"\x89PNG\r\n\x1a\n", "a.tif"),
        (b"\xff\xd8\xff\xe0", "a.tif"),
        (b"BM1234", "a.tif"),
    ],
)
def test_what_is_no_image(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.tif"
    file.write_bytes(content)
    for reader in (image_files.read, image_files.probe):
        with pytest.raises(InputError, match=message):
            reader(file)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        image_files.read(tmp_path / "none.tif")
    with pytest.raises(InputError, match="is a folder"):
        image_files.read(tmp_path)


def encoded(kind: str) -> bytes:
    array = np.random.default_rng(1).integers(0, 255, (24, 31), np.uint8)
    stack = np.random.default_rng(1).integers(0, 255, (3, 24, 31), np.uint16)
    out = io.BytesIO()
    if kind in ("PNG", "JPEG", "BMP"):
        PIL.Image.fromarray(array).save(out, format=kind)
    elif kind == "deflate":
        tifffile.imwrite(out, array, compression="zlib", tile=(16, 16))
    else:
        options = {"ome": {"ome": True}, "imagej": {"imagej": True}}[kind]
        tifffile.imwrite(out, stack, photometric="minisblack", metadata={"axes": "CYX"}, **options)
    return out.getvalue()


KINDS = ["PNG", "JPEG", "BMP", "deflate", "ome", "imagej"]
CONTENTS = {kind: encoded(kind) for kind in KINDS}


def read_or_named_error(file: Path) -> Image | None:
    """Read an image, or make sure that the error is one of ours and names the file."""
    try:
        return image_files.read(file, max_bytes=10**7)
    except FlowsegError as error:
        if str(file) in str(error):
            return None
        raise


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KINDS), st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_an_error_or_whole(tmp_path: Path, kind: str, part: float) -> None:
    file = tmp_path / f"a.{kind}"
    file.write_bytes(CONTENTS[kind])
    whole = image_files.read(file)
    file.write_bytes(CONTENTS[kind][: int(len(CONTENTS[kind]) * part)])
    image = read_or_named_error(file)
    if image is not None:
        np.testing.assert_array_equal(image.pixels, whole.pixels)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KINDS), st.integers(0, 2**31), st.integers(0, 255), st.booleans())
def test_a_damaged_file_is_an_error_or_an_image(tmp_path: Path, kind: str, place: int, value: int, early: bool) -> None:
    content = bytearray(CONTENTS[kind])
    content[place % (min(len(content), 400) if early else len(content))] = value
    file = tmp_path / f"a.{kind}"
    file.write_bytes(content)
    image = read_or_named_error(file)
    assert image is None or image.pixels.ndim == 3


def test_headers_that_claim_too_much(tmp_path: Path) -> None:
    file = tmp_path / "bomb.png"
    data = bytearray(CONTENTS["PNG"])
    data[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"bomb.png claims .* GB when decoded"):
        image_files.read(file)
    tifffile.imwrite(tmp_path / "bomb.tif", shape=(16, 16), dtype=np.uint8, compression="zlib", data=iter([b"x"]))
    raw = (tmp_path / "bomb.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "bomb.tif") as tif:
        tags = [tif.pages[0].tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    raw = bytearray(raw)
    for offset in tags:
        raw[offset : offset + 2] = b"\xff\xff"
    (tmp_path / "bomb.tif").write_bytes(raw)
    with pytest.raises(InputError, match=r"bomb.tif claims .*at most 0.00 GB are taken \(the limit given\)"):
        image_files.read(tmp_path / "bomb.tif", max_bytes=10**6)


def test_a_large_picture_is_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    file = tmp_path / "a.png"
    file.write_bytes(CONTENTS["PNG"])
    assert image_files.read(file).shape == (24, 31)
    with pytest.raises(InputError, match="the limit given"):
        image_files.read(file, max_bytes=24 * 31 - 1)


def test_axes_are_for_tiff_alone(tmp_path: Path) -> None:
    colour = np.arange(6 * 7 * 3, dtype=np.uint8).reshape(6, 7, 3)
    PIL.Image.fromarray(colour).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(colour, 2, 0), photometric="minisblack", metadata=None)
    for name in ("a.png", "a.tif"):
        read = image_files.read(tmp_path / name, axes="CYX")
        assert np.array_equal(read.pixels, np.moveaxis(colour, 2, 0)), name
        assert image_files.probe(tmp_path / name, axes="CYX").axes == ("YXS" if name == "a.png" else "CYX")


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colours_are_not_taken_for_red_green_and_blue(mode: str, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (9, 8), (200, 30, 40)).convert("YCbCr").save(tmp_path / "YCbCr.tif")
    for written in ("LAB", "CMYK"):
        PIL.Image.new(written, (9, 8)).save(tmp_path / f"{written}.tif")
    with pytest.raises(InputError, match="save it as RGB"):
        image_files.read(tmp_path / f"{mode}.tif")
