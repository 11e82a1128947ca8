"""Segment an image: a model and an image in, a record of what was found out."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowseg import channels, checkpoint, checks, dynamics, engines, images, labels, machine, predict, zoo
from flowseg.arrays import Floats, Labels
from flowseg.checkpoint import Checkpoint, SizeModel, naming
from flowseg.engines import Engine
from flowseg.errors import InputError, ModelError, OptionError
from flowseg.images import Image
from flowseg.normalize import Normalization, Normalized, normalize
from flowseg.options import SegmentOptions
from flowseg.segmentation import Segmentation
from flowseg.words import many

if TYPE_CHECKING:
    import torch


class _Search(NamedTuple):
    """When the median diameter of what was found asks for another run, at that diameter."""

    far_off: float  # times larger or smaller than the diameter assumed
    least: int  # instances; of fewer the median says nothing
    runs: int  # at most so many more
    coarser: bool = False  # whether cells may be much larger: those leave nothing, or crumbs


_FROM_DEFAULT = _Search(far_off=1.3, least=3, runs=2, coarser=True)
_FROM_TUNING = _Search(far_off=1.6, least=3, runs=1, coarser=True)
_FROM_SIZE_MODEL = _Search(far_off=1.02, least=1, runs=1)  # Cellpose runs once more at whatever it found
_SMALLEST = 5.0  # pixels: specks are not the cells to go by
_FEW = 2  # so many candidates may be dropped without a word
_GIVEN = _Search(far_off=1.0, least=1, runs=0)
_COARSER = 3.0, 9.0  # times the diameter: a ninth of the work, and a ninth of that
_SURE = 3.0  # mean logit of what is a cell; of lone shades in backgrounds, seen that coarsely, it was below 2


class _Found(NamedTuple):
    """What a run of the network at a diameter gives."""

    diameter: float
    prediction: predict.Prediction
    masks: dynamics.Masks

    @property
    def area(self) -> int:
        """Pixels of all instances."""
        return int(np.count_nonzero(self.masks.labels))

    @property
    def is_sure(self) -> bool:
        """Whether the network has no doubt about what was found."""
        inside = self.prediction.cellprob[self.masks.labels > 0]
        return inside.size > 0 and float(inside.mean()) > _SURE

    def says_little(self, least: int) -> bool:
        """Whether there are few instances, or most of what seemed to be cells came to none."""
        return int(self.masks.labels.max(initial=0)) < least or 2 * self.area < self.masks.foreground


class Model:
    """One network, or an ensemble whose flows are averaged, ready to segment images.

    Made by `load_model`.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        networks: Sequence[Engine],
        names: Sequence[str],
        sizes: Sequence[SizeModel | None] = (),
    ) -> None:
        self._checkpoints = list(checkpoints)
        self._sizes = list(sizes)
        self._engines = list(networks)
        self.names = list(names)
        self.config = checkpoints[0].config

    def __repr__(self) -> str:
        engine = self._engines[0]
        return f"Model({', '.join(self.names)}; {engine.precision} on {engine.device})"

    @property
    def digest(self) -> str:
        """SHA-256 of the model's file; of an ensemble those of all files, joined."""
        return "+".join(each.digest for each in self._checkpoints)

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the model is and what runs it, for logs."""
        engine = self._engines[0]
        return {
            "models": self.names,
            "digests": [each.digest for each in self._checkpoints],
            "engine": engine.name,
            "device": engine.device,
            "precision": engine.precision,
            "size_models": [size.digest for size in self._sizes if size is not None],
        }

    @property
    def _cleans(self) -> bool:
        """Whether hot pixels are cleaned: for networks of colours, as `nuclei`, but not where Cellpose would not."""
        ours = all(each.source == "flowseg" for each in self._checkpoints)
        return ours and self.config.channel_names == channels.COLORS

    def segment(
        self,
        image: npt.ArrayLike | Image,
        options: SegmentOptions | None = None,
        *,
        axes: str | None = None,
        max_bytes: int | None = None,
        **settings: Any,
    ) -> Segmentation:
        """Segment one image.

        Parameters
        ----------
        image
            (H, W) or (H, W, 3) real numbers, others with ``axes``; or an image that `flowseg.sources` has read.
        options
            All settings in one record, or
        axes
            What each axis is, where the shape does not tell: "CYX", "YXC".
        max_bytes
            Refuse what would take more memory than about this much, and do not go to an estimated diameter that would;
            None: than the machine has.
        **settings
            some settings by name: ``diameter=17, channels=(1, 0), tta=True`` (see `flowseg.options.SegmentOptions`).

        Returns
        -------
        Segmentation
        """
        options = _options(options, settings)
        given = image if isinstance(image, Image) else images.from_array(image, axes)
        chosen = self._chosen(given, options)
        percentiles = options.percentiles or self.config.normalisation
        how = Normalization(percentiles, tile=options.normalise_tile, invert=options.invert, clean=self._cleans)
        normalised = _normalised(chosen.planes, how)
        most = max_bytes if max_bytes is not None else machine.memory().whole or None
        diameter, search = self._first_diameter(normalised.planes, options, most)
        if most is not None:
            self._check_memory(given, diameter, options, most)
        diameter, prediction, masks = self._searched(normalised.planes, diameter, search, options, most)
        notes = _notes(masks, normalised, diameter, self.config.diameter_mean)
        return Segmentation(
            masks.labels,
            prediction.flows,
            prediction.cellprob,
            float(diameter),
            masks,
            chosen.text,
            notes,
            given.pixels if isinstance(image, Image) else np.array(given.pixels),  # the caller may use his again
            self.config.target,
        )

    def check(self, options: SegmentOptions) -> None:
        """Raise `OptionError` where options cannot work with this model, whatever the image."""
        choice = channels.parse(options.channels)
        inputs = self.config.architecture.channels
        if len(choice.items) > max(2, inputs):
            raise OptionError(f"{len(choice.items)} channels are chosen; the network takes {inputs}")
        options.masks(self.config, 1.0)
        self._how(self.config.diameter_mean, options)

    def _first_diameter(self, planes: Floats, options: SegmentOptions, max_bytes: int | None) -> tuple[float, _Search]:
        """Return the diameter to run at first, predicted from the style where a network has a size model."""
        diameter, search = self._known_diameter(options)
        if search is _FROM_DEFAULT:
            for engine, size in zip(self._engines, self._sizes, strict=False):
                if size is not None:
                    style = predict.measure_style(engine, planes, self._how(diameter, options))
                    predicted = size.diameter(style)
                    if self._fits(planes.shape[1:], predicted, options, max_bytes):
                        return predicted, _FROM_SIZE_MODEL
        return diameter, search

    def _fits(self, shape: tuple[int, ...], diameter: float, options: SegmentOptions, max_bytes: int | None) -> bool:
        height, width = shape
        at = replace(options, diameter=diameter)
        return max_bytes is None or self.estimate_bytes((height, width), at) <= max_bytes

    def _check_memory(self, image: Image, diameter: float, options: SegmentOptions, most: int) -> None:
        """Refuse what would end the process: a small diameter makes a huge image for the network."""
        if not self._fits(image.shape, diameter, options, most):
            needed = self.estimate_bytes(image.shape, replace(options, diameter=diameter))
            height, width = image.shape
            raise InputError(
                f"{image.name}: {height} x {width} pixels at a diameter of {diameter:g} pixels would take about "
                f"{needed / 2**30:.2f} GiB of memory, {most / 2**30:.2f} can be had: is the diameter right? "
                "if it is, cut the image"
            )

    def _searched(
        self, planes: Floats, diameter: float, search: _Search, options: SegmentOptions, most: int | None
    ) -> _Found:
        """Segment at a diameter, and again at that of what was found, or where cells are much larger than assumed."""
        found = _Found(diameter, *self._run(planes, diameter, options))
        if search.coarser and found.says_little(search.least):
            for times in _COARSER:
                other = _Found(times * diameter, *self._run(planes, times * diameter, options))
                if other.is_sure and other.area > 2 * found.area:
                    found, search = other, search._replace(least=1)
                del other  # three at once would be much for a large image
        for _ in range(search.runs):
            better = _better_diameter(found.masks.labels, found.diameter, search)
            if better is None or not self._fits(planes.shape[1:], better, options, most):
                break
            found = _Found(better, *self._run(planes, better, options))
        return found

    def _known_diameter(self, options: SegmentOptions) -> tuple[float, _Search]:
        """Return the diameter that was asked for, or that the model was tuned to, or that it was trained on."""
        if options.diameter:
            return options.diameter, _GIVEN
        tuned = options.chosen_of(self.config).diameter
        if tuned is not None:
            return tuned, _FROM_TUNING
        return self.config.diameter_labels or self.config.diameter_mean, _FROM_DEFAULT

    def _chosen(self, image: Image, options: SegmentOptions) -> channels.Chosen:
        config = self.config
        choice = channels.parse(options.channels)
        return channels.for_network(image, choice, config.channel_names, config.architecture.channels)

    def estimate_bytes(self, shape: tuple[int, int], options: SegmentOptions | None = None) -> int:
        """Return about how many bytes an image (height, width) takes at its peak, beside the model."""
        options = options or SegmentOptions()
        diameter, _ = self._known_diameter(options)
        bytes_a_value = 4 if self._engines[0].precision == "fp32" else 2
        return predict.estimate_bytes(shape, self._how(diameter, options), bytes_a_value)

    def _run(
        self, planes: Floats, diameter: float, options: SegmentOptions
    ) -> tuple[predict.Prediction, dynamics.Masks]:
        how = self._how(diameter, options)
        prediction = predict.predict(self._engines, planes, how)
        found = dynamics.find_masks(prediction.flows, prediction.cellprob, options.masks(self.config, how.scale))
        return prediction, found

    def _how(self, diameter: float, options: SegmentOptions) -> predict.How:
        stride = max(each.config.architecture.stride for each in self._checkpoints)
        return predict.How(self.config.diameter_mean / diameter, options.tile, options.overlap, options.tta, stride)


def load_model(
    name: str | PathLike[str] | Sequence[str | PathLike[str]] = "nuclei",
    *,
    device: "str | torch.device" = "auto",
    precision: str = "auto",
) -> Model:
    """Load a model, or several as an ensemble.

    Parameters
    ----------
    name
        Name of a model (see `flowseg.zoo`; one that is not here is fetched), path of a model file of flowseg or of
        Cellpose 1 to 3, or a list of them.
    device
        "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps"; or a device of torch.
    precision
        "auto" (the fastest that keeps the masks), "fp32", "bf16", or "fp16" (GPUs).

    Examples
    --------
    >>> y, x = np.ogrid[:64, :64]
    >>> spot = np.exp(-((y - 32) ** 2 + (x - 32) ** 2) / 150)
    >>> load_model("nuclei", device="cpu", precision="fp32").segment(spot, diameter=25)
    Segmentation(1 instance, 64 x 64 pixels, diameter 25.0)
    """
    names = [str(each) for each in ([name] if isinstance(name, str | PathLike) else name)]
    if not names:
        raise OptionError("no model was named; wanted at least one")
    located = [zoo.resolve(each) for each in names]
    checkpoints = [zoo.read(each) for each in located]
    for each, its_name in zip(checkpoints, names, strict=True):
        with naming(its_name):
            each.require_segmentation()
        if each.config.architecture.channels != checkpoints[0].config.architecture.channels:
            raise ModelError(f"{its_name} takes another number of channels than {names[0]}: no ensemble")
        if each.config.diameter_mean != checkpoints[0].config.diameter_mean:
            raise ModelError(f"{its_name} wants cells of another diameter than {names[0]}: no ensemble")
        if each.config.target != checkpoints[0].config.target:
            raise ModelError(f"{its_name} gives flows of another kind than {names[0]}: no ensemble")
    sizes = [_size_model(*each) for each in zip(located, checkpoints, strict=True)]
    networks = [engines.start(each.config.architecture, each.arrays, device, precision) for each in checkpoints]
    return Model(checkpoints, networks, names, sizes)


def _size_model(located: zoo.Located, of: Checkpoint) -> SizeModel | None:
    """Read the size model of a network, where it has one."""
    if located.size_model_path is None:
        return None
    found = checkpoint.read_size_model(located.size_model_path)
    style = of.config.architecture.widths[-1]
    if len(found.weights) != style:
        wanted = f"wants styles of {len(found.weights)} numbers; the network {located.path} gives {style}"
        raise ModelError(f"{located.size_model_path} {wanted}")
    return found


def _options(options: object, settings: dict[str, Any]) -> SegmentOptions:
    given = SegmentOptions() if options is None else options
    if not isinstance(given, SegmentOptions):
        raise OptionError(f"options is {options!r}; wanted SegmentOptions, or settings by name, such as diameter=30")
    checks.known_names(settings, SegmentOptions.__dataclass_fields__)
    return replace(given, **settings)


def _normalised(planes: npt.NDArray[Any], how: Normalization) -> Normalized:
    """Normalise channels; one that stands for all of them, as grey for red, green and blue, once."""
    done = normalize(channels.distinct(planes), how)
    if len(done.planes) == len(planes):
        return done
    return done._replace(planes=np.ascontiguousarray(np.broadcast_to(done.planes, planes.shape)))


def _better_diameter(found: Labels, diameter: float, search: _Search) -> float | None:
    """Return the median diameter of what was found, if it is far from the one that was assumed and can be trusted."""
    diameters = labels.diameters(found)
    if len(diameters) < search.least:
        return None
    measured = max(_SMALLEST, float(np.median(diameters)))
    return measured if max(measured / diameter, diameter / measured) > search.far_off else None


def _notes(found: dynamics.Masks, normalised: Normalized, diameter: float, trained: float) -> list[str]:
    """Say, in plain sentences, what the user should know about a result."""
    notes = normalised.remarks()
    count = int(found.labels.max(initial=0))
    if all(channels.segmented(normalised.flat)):
        return [*notes, _nothing_to_see(any(channels.segmented(normalised.sparse)))]
    if found.foreground == 0:
        notes.append(
            "no pixel is above the probability threshold: try a lower cellprob_threshold, another channel, "
            "or invert if the cells are dark"
        )
    elif found.candidates == 0:
        notes.append(
            f"{many(found.foreground, 'pixel is', 'pixels are')} above the probability threshold, but their flows meet "
            "nowhere: is the diameter right, and the channel? a lower cellprob_threshold may join what is in pieces"
        )
    elif count == 0:
        notes.append(f"no instance is left of {found.candidates}: {_taken(found)}")
    elif found.candidates - count > max(count, _FEW):
        notes.append(f"of {found.candidates} candidates {count} {'is' if count == 1 else 'are'} left: {_taken(found)}")
    if not 1 / 4 < trained / diameter < 4:
        notes.append(
            f"at a diameter of {diameter:.1f} pixels the image is resized by {trained / diameter:.2f} for the network: "
            "is the diameter right?"
        )
    return notes


def _nothing_to_see(sparse: bool) -> str:
    if not sparse:
        return "the channel to segment has no contrast: nothing can be found in it"
    return (
        "the channel to segment has no contrast between its percentiles, only in few pixels beyond them: nothing can "
        "be found in it; if those are cells, take percentiles=(0, 100) (--percentiles 0,100)"
    )


def _taken(found: dynamics.Masks) -> str:
    return (
        f"too large (max_size_fraction): {found.too_large}; with flows that do not agree with their shape "
        f"(flow_threshold; is the diameter right?): {found.inconsistent}; too small (min_size): {found.too_small}"
    )
