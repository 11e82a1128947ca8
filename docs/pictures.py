"""The pictures of the pages, drawn with the package itself when the site is built: python docs/pictures.py FOLDER."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

import flowseg
from flowseg import flows as flow_fields
from flowseg import plots
from flowseg.kernels import regions

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

EXAMPLES = Path(__file__).parent.parent / "examples"
INK = "#334155"


def draw_all(folder: Path) -> None:
    """Draw every picture into a folder; those that are there and newer than this file stay."""
    folder.mkdir(exist_ok=True)
    for draw in (heat, wheel, paths, rotation, flow_error):
        path = folder / f"{draw.__name__}.png"
        if not path.exists() or path.stat().st_mtime < Path(__file__).stat().st_mtime:
            draw().savefig(path, dpi=130, facecolor="white")


def cells() -> tuple[npt.NDArray[np.uint8], Labels]:
    """Return a part of an example image, and its true instances."""
    part = np.s_[224:320, 160:256]
    image = np.asarray(Image.open(EXAMPLES / "data/3f9fc8e63f87.png").convert("RGB"))[part]
    truth = np.asarray(Image.open(EXAMPLES / "masks/3f9fc8e63f87.png"))[part]
    return image, flowseg.labels.clean(truth, min_size=60)


def one_cell() -> Labels:
    """Return a bent cell, whose mean lies near its edge."""
    y, x = np.mgrid[:44, :56].astype(float)
    bent = np.hypot((x - 28) / 1.15, y - 38)
    return ((bent < 26) & (bent > 12) & (y < 36)).astype(np.int32)


def spread(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the heat in one instance, as the page of the maths defines it, in plain numpy."""
    ys, xs = np.nonzero(mask)
    nearest = ((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2).argmin()
    steps = 2 * (np.ptp(ys) + 3 + np.ptp(xs) + 3)
    found = np.zeros(mask.shape)
    for _ in range(steps):
        found[ys[nearest], xs[nearest]] += 1
        found = ndimage.uniform_filter(found, 3, mode="constant") * mask
    return found


def heat() -> Figure:
    """One instance: its pixels, heat, flows as arrows, flows as colours; checks the definition beside."""
    labels = one_cell()
    flows = flowseg.masks_to_flows(labels)
    warmth = spread(labels > 0)
    rise = np.stack([warmth[2:, 1:-1] - warmth[:-2, 1:-1], warmth[1:-1, 2:] - warmth[1:-1, :-2]])
    inside = labels[1:-1, 1:-1] > 0
    rise = (rise / (np.hypot(*rise) + 1e-60))[:, inside]
    assert np.abs(rise - flows[:, 1:-1, 1:-1][:, inside]).max() < 1e-3, "flows are not what the page says they are"

    figure, axes = _panels(4, 44 / 56)
    _show(axes[0], plots.label_colours(labels), "an instance")
    _show(axes[1], np.where(labels > 0, np.log1p(warmth), np.nan), "heat, logarithm", cmap="inferno")
    _show(axes[2], np.where(labels[..., None] > 0, 235, 255).astype(np.uint8).repeat(3, 2), "flows")
    ys, xs = (part[::1] for part in np.nonzero((labels > 0) & (np.indices(labels.shape).sum(0) % 2 == 0)))
    axes[2].quiver(xs, ys, flows[1, ys, xs], flows[0, ys, xs], angles="xy", color=INK, scale=30, width=0.006)
    _show(axes[3], plots.flow_colours(flows), "flows as colours")
    return figure


def wheel() -> Figure:
    """Which colour stands for which direction."""
    y, x = np.mgrid[-1:1:240j, -1:1:240j].astype(np.float32)
    length = np.hypot(y, x)
    colours = plots.flow_colours(np.where(length <= 1, np.stack([y, x]), 0).astype(np.float32))
    colours[length > 1] = 255
    figure, (axis,) = _panels(1, 1.0, width=2.4)
    _show(axis, colours, "")
    for name, (u, v) in {"right": (1, 0), "down": (0, 1), "left": (-1, 0), "up": (0, -1)}.items():
        axis.text(120 + 92 * u, 120 + 92 * v, name, ha="center", va="center", color="white", fontsize=8)
    return figure


def paths() -> Figure:
    """From flows to instances: the image, where pixels go, how many end where, and what that makes."""
    image, truth = cells()
    flows = flowseg.masks_to_flows(truth)
    logits = np.where(truth > 0, 5.0, -5.0)
    found = flowseg.flows_to_masks(flows, logits)
    assert flowseg.metrics.average_precision(truth, found).ap.min() == 1, "the picture should show all instances found"

    ys, xs = np.nonzero(truth)
    tracks = followed(flows, np.stack([ys, xs]).astype(float))
    ends = np.zeros(truth.shape)
    np.add.at(ends, tuple(np.rint(tracks[-1]).astype(int)), 1)
    figure, axes = _panels(4, 1.0)
    _show(axes[0], plots.seen(np.moveaxis(image, 2, 0)), "image")
    _show(axes[1], plots.flow_colours(flows) // 3 + 130, "paths of every 12th pixel")
    for number in range(0, len(ys), 12):
        axes[1].plot(tracks[:, 1, number], tracks[:, 0, number], color=INK, linewidth=0.6)
    _show(axes[2], np.log1p(ends), "where they end", cmap="magma")
    _show(axes[3], plots.with_outlines(plots.seen(np.moveaxis(image, 2, 0)), found, plots.FOUND), "instances")
    return figure


def followed(flows: Floats, points: npt.NDArray[np.float64], steps: int = 120) -> npt.NDArray[np.float64]:
    """Return the positions (steps + 1, 2, n) of points that follow the flows, a pixel a step at most."""
    track = [points]
    for _ in range(steps):
        moved = [ndimage.map_coordinates(part, track[-1], order=1, mode="nearest") for part in flows]
        track.append(np.clip(track[-1] + moved, 0, np.array(flows.shape[1:])[:, None] - 1))
    return np.stack(track)


def rotation() -> Figure:
    """Show what a rotation does to flows: turned as a picture, they point where they pointed before."""
    _, truth = cells()
    flows, angle = flowseg.masks_to_flows(truth), np.radians(30)
    turned = ndimage.rotate(truth, 30, reshape=False, order=0)
    as_picture = np.stack([ndimage.rotate(part, 30, reshape=False, order=1) for part in flows])
    dy, dx = as_picture / (np.hypot(*as_picture) + 1e-9)
    vectors_too = np.stack([dy * np.cos(angle) - dx * np.sin(angle), dy * np.sin(angle) + dx * np.cos(angle)])
    afterwards = flowseg.masks_to_flows(turned)
    figure, axes = _panels(4, 1.0)
    _show(axes[0], plots.label_colours(turned), "labels, turned by 30°\n")
    for axis, field, title in (
        (axes[1], np.stack([dy, dx]), "flows turned as a picture"),
        (axes[2], vectors_too, "vectors turned, too"),
        (axes[3], afterwards, "computed afterwards"),
    ):
        wrong = degrees_between(field, afterwards)[(turned > 0) & (np.hypot(*afterwards) > 0)]
        _show(axis, plots.flow_colours(field * (turned > 0)), f"{title}\n{wrong.mean():.1f}° off")
    return figure


def degrees_between(flows: Floats, others: Floats) -> npt.NDArray[np.float64]:
    """Return the angle between two fields, pixel by pixel."""
    return np.asarray(np.degrees(np.arccos(np.clip((flows * others).sum(axis=0), -1, 1))))


def flow_error() -> Figure:
    """Show what the flow threshold looks at: how far predicted flows are from those of the instance that was found."""
    whole = np.zeros((60, 100), np.int32)
    y, x = np.mgrid[:60, :100]
    whole[np.hypot(y - 30, x - 32) < 18] = 1
    whole[(np.hypot(y - 30, x - 66) < 18) & (whole == 0)] = 2
    predicted = flowseg.masks_to_flows(whole)
    figure, axes = _panels(3, 0.6)
    _show(axes[0], plots.flow_colours(predicted), "predicted flows: two cells")
    for axis, labels, title in ((axes[1], whole, "found as two"), (axes[2], np.minimum(whole, 1), "found as one")):
        errors = flow_fields.flow_errors(labels, predicted, *regions.boxes_and_areas(labels))[1:]
        _show(axis, plots.flow_colours(flowseg.masks_to_flows(labels)), f"{title}: error {errors.max():.2f}")
    return figure


def _panels(count: int, height: float, width: float = 9.0) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, width / count * height + 0.45), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _show(axis: Axes, picture: npt.NDArray[Any], title: str, **how: Any) -> None:
    axis.imshow(picture, interpolation="nearest", **how)
    axis.set_title(title, fontsize=9, color=INK)
    axis.set_axis_off()


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]))
