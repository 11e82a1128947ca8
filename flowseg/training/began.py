"""What a training that goes on began with: read from its folder, and compared with what is asked now."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowseg.errors import FlowsegError, InputError, OptionError
from flowseg.model_config import ModelConfig
from flowseg.sources.collection import Item
from flowseg.sources.spellings import under
from flowseg.training.asked import Asked
from flowseg.training.options import TrainOptions
from flowseg.training.run_folder import RunFolder
from flowseg.training.split import Split

_FREE = ("workers", "device", "save_seconds")  # may differ when a training goes on: on another machine, for example


@dataclass(frozen=True)
class Began:
    """What is in the ``config.json`` of a run.

    Attributes
    ----------
    folder
        Of the run.
    config
        Of the model.
    options, pretrained, axes, channels
        As they were asked for, as JSON gives them back.
    train, validation
        Names of the images.
    """

    folder: RunFolder
    config: ModelConfig
    options: Mapping[str, Any]
    pretrained: str | None
    axes: str | None
    channels: Sequence[Any]
    train: Sequence[str]
    validation: Sequence[str]

    @classmethod
    def read(cls, folder: RunFolder) -> "Began":
        """Read what a training began with."""
        values = folder.read_config()
        try:
            config = ModelConfig.from_dict(values["model"])
            options, train, validation = dict(values["options"]), list(values["train"]), list(values["validation"])
            pretrained, axes, channels = values["pretrained"], values["axes"], list(values["channels"])
        except (KeyError, TypeError, ValueError, FlowsegError) as error:
            raise InputError(
                f"{folder.config} does not say what the training began with ({error}): it was changed, or another "
                f"version wrote it. Begin again in another folder, from its weights: --pretrained {folder.last}"
            ) from error
        return cls(folder, config, options, pretrained, axes, channels, train, validation)

    def require_same(self, options: TrainOptions, asked: Asked) -> None:
        """Refuse to go on with other options, another model, or images read otherwise."""
        now, before = _what_counts(options.to_dict()), _what_counts(self.options)
        different = [name for name in sorted(now) if now[name] != before.get(name)]
        config = self.config
        new = asked.new.config() if asked.pretrained is None else config
        same = {
            "pretrained": asked.pretrained == self.pretrained,
            "inputs": new.channel_names == config.channel_names,
            "widths": new.architecture == config.architecture,
            "diameter_mean": asked.diameter in (None, config.diameter_mean),
            "licence": asked.licence in ("", config.licence),
            "axes": asked.axes == self.axes,
            "channels": json.loads(json.dumps(list(asked.choice.items))) == self.channels,
        }
        different += [name for name, agrees in same.items() if not agrees]
        if different:
            raise OptionError(
                f"the training in {self.folder.path} began with another {different[0]}; it cannot be changed now"
            )

    def parts(self, split: Split) -> Split:
        """Return the images that it began with, of those that are there now."""
        train, held = ({item.name: item for item in part} for part in split)
        return Split(
            self._chosen({**held, **train}, self.train),
            self._chosen({**train, **held}, self.validation),
        )

    def _chosen(self, items: Mapping[str, Item], names: Sequence[str]) -> list[Item]:
        found = {name: item for name in names if (item := under(items, name)) is not None}
        gone = [name for name in names if name not in found]
        if gone:
            more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
            raise InputError(
                f"the training in {self.folder.path} began with other images: {gone[0]}{more} can no longer be used"
            )
        return [found[name] for name in names]


def _what_counts(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that change what comes out, as JSON would give them back."""
    crop = {name: value for name, value in options.get("crop", {}).items() if name != "cache_bytes"}
    kept = {name: value for name, value in options.items() if name not in _FREE}
    return dict(json.loads(json.dumps({**kept, "crop": crop})))
