"""Write copies of images, spoiled as pictures from elsewhere are: blurred, noisy, compressed, tinted, written on.

    python benchmarks/spoil.py DATA OUT [--copies 1] [--seed 6]

DATA and OUT have images/ and masks/; masks are copied. `spoiled.py` scores a model on such images.
"""

import argparse
import io
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from skimage import color

Pixels = npt.NDArray[np.uint8]
"""(H, W), or (H, W, 3)."""

Way = Callable[[Pixels, np.random.Generator], Pixels]
"""To spoil an image."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--copies", type=int, default=1, help="of each image")
    parser.add_argument("--seed", type=int, default=6)
    options = parser.parse_args()
    for folder in ("images", "masks"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        each = partial(write, options.data, options.out, options.copies, options.seed)
        list(pool.map(each, (options.data / "images").iterdir()))


def write(data: Path, out: Path, copies: int, seed: int, source: Path) -> None:
    """Write the copies of one image, and their masks; what is drawn depends on the image's name alone."""
    mask = next((data / "masks").glob(f"{source.stem}.*"))
    for copy in range(copies):
        rng = np.random.default_rng([seed, copy, *source.stem.encode()])
        name = f"{source.stem}-{copy}"
        Image.fromarray(spoiled(np.asarray(Image.open(source)), rng)).save(out / "images" / f"{name}.png")
        shutil.copyfile(mask.resolve(), out / "masks" / f"{name}{mask.suffix}")


def spoiled(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Spoil an image in up to three ways, in the order in which it happens: light, optics, camera, picture."""
    often = np.array([step[0] for step in STEPS])
    chosen = rng.choice(len(STEPS), rng.integers(4), replace=False, p=often / often.sum())
    for number in sorted(chosen):
        pixels = STEPS[number][1](pixels, rng)
    return pixels


def uneven(pixels: Pixels, strength: float, angle: float) -> Pixels:
    """Darken towards one side, by up to this part."""
    rows, columns = (np.linspace(-0.5, 0.5, side) for side in pixels.shape[:2])
    slope = 0.5 + 0.7 * (np.sin(angle) * rows[:, None] + np.cos(angle) * columns)
    light = 1 - strength * np.clip(slope, 0, 1)
    return whole(pixels * (light[..., None] if pixels.ndim == 3 else light))


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    return whole(ndimage.gaussian_filter(pixels.astype(np.float32), sigma, axes=(0, 1)))


def coarse(pixels: Pixels, factor: float) -> Pixels:
    """Make an image smaller, and as large as it was again."""
    picture = Image.fromarray(pixels)
    small = picture.resize([max(8, round(side / factor)) for side in picture.size], Image.Resampling.BOX)
    return np.asarray(small.resize(picture.size, Image.Resampling.BILINEAR))


def noisy(pixels: Pixels, part: float, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise, of this part of what lies between the percentiles 1 and 99."""
    low, high = np.percentile(pixels, (1, 99))
    return whole(pixels + rng.normal(0, part * max(1.0, high - low), pixels.shape))


def with_hot(pixels: Pixels, part: float, rng: np.random.Generator) -> Pixels:
    """Make this part of the pixels as bright as they can be."""
    hot = rng.random(pixels.shape[:2]) < part
    return np.where(hot[..., None] if pixels.ndim == 3 else hot, np.uint8(255), pixels)


def few_photons(pixels: Pixels, most: float, rng: np.random.Generator) -> Pixels:
    """Count photons, of which the brightest pixel gets this many on average."""
    top = max(1, int(pixels.max()))
    return whole(rng.poisson(pixels * (most / top)) * (top / most))


def few_levels(pixels: Pixels, levels: int) -> Pixels:
    """Leave this many different intensities."""
    low, high = float(pixels.min()), max(float(pixels.max()), float(pixels.min()) + 1)
    steps = np.rint((pixels - low) / (high - low) * (levels - 1))
    return whole(low + steps * ((high - low) / (levels - 1)))


def tinted(pixels: Pixels, hue: float) -> Pixels:
    """Show a grey image in one colour, black to it; turn the hues of one in colour. 0 is red, 1/3 green, 2/3 blue."""
    if pixels.ndim == 2:
        return whole(pixels[..., None] * color.hsv2rgb(np.array([hue, 1.0, 1.0])))
    hsv = color.rgb2hsv(pixels)
    hsv[..., 0] = (hsv[..., 0] + hue) % 1
    return whole(255 * color.hsv2rgb(hsv))


def captioned(pixels: Pixels, text: str, right: bool, bottom: bool, shade: tuple[int, int, int]) -> Pixels:
    """Draw a bar of scale and a text into a corner."""
    picture = Image.fromarray(pixels)
    width, height = picture.size
    size = max(10, height // 18)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    ink = shade if picture.mode == "RGB" else shade[0]
    long = int(draw.textlength(text, font))
    left, top = (width - long - size if right else size), (height - 3 * size if bottom else size)
    draw.text((left, top), text, fill=ink, font=font)
    draw.rectangle((left, top + 1.5 * size, left + width // 5, top + 1.5 * size + size // 4), fill=ink)
    return np.asarray(picture)


def compressed(pixels: Pixels, quality: int) -> Pixels:
    """Keep an image as JPEG does, after it was made as bright as a picture that is shown to others."""
    low, high = np.percentile(pixels, (0.1, 99.9))
    file = io.BytesIO()
    Image.fromarray(whole((pixels - low) * (255 / max(1.0, high - low)))).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def whole(values: npt.NDArray[np.floating]) -> Pixels:
    bytes_: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return bytes_


def _any_caption(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    text = str(rng.choice(["50 um", "10 um", "DAPI", "t = 12 h", "A", "x20", "Ctrl 48h", "2018-03-01", "100 um"]))
    shade = ((255, 255, 255), (0, 0, 0), (255, 255, 0), (255, 0, 0))[rng.integers(4)]
    return captioned(pixels, text, rng.random() < 0.5, rng.random() < 0.5, shade)


# How often, and how: in the order in which it happens to an image.
STEPS: list[tuple[float, Way]] = [
    (1.0, lambda pixels, rng: uneven(pixels, rng.uniform(0.3, 0.9), rng.uniform(0, 2 * np.pi))),
    (2.0, lambda pixels, rng: blurred(pixels, rng.uniform(1, 4))),
    (1.0, lambda pixels, rng: coarse(pixels, rng.uniform(1.5, 4))),
    (1.0, lambda pixels, rng: noisy(pixels, rng.uniform(0.03, 0.25), rng)),
    (1.0, lambda pixels, rng: few_photons(pixels, 10 ** rng.uniform(0.8, 2), rng)),
    (0.5, lambda pixels, rng: few_levels(pixels, int(rng.integers(4, 16)))),
    (2.0, lambda pixels, rng: tinted(pixels, rng.random())),
    (1.0, _any_caption),
    (2.0, lambda pixels, rng: compressed(pixels, int(rng.integers(5, 50)))),
]


if __name__ == "__main__":
    main()
