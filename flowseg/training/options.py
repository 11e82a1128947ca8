"""What can be set about a training, as one frozen record."""

from dataclasses import asdict, dataclass, field
from typing import Any

from flowseg import checks
from flowseg.dataset import CropOptions

FREEZE = ("none", "encoder", "all-but-output")


@dataclass(frozen=True)
class TrainOptions:
    """How a network is trained.

    Attributes
    ----------
    crops
        Crops to train on, all together; None: ``epochs`` times the number of images.
    epochs
        Rounds over the images, where ``crops`` is None.
    batch_size
        Crops a step, of all processes together.
    lr
        Largest learning rate; None: 0.002 from scratch, 0.0005 for a pretrained network.
    weight_decay, clip
        Of AdamW; the largest norm of the gradient (0: none).
    warmup
        Part of the steps in which the learning rate rises; afterwards it falls along a cosine.
    ema
        The weights that are kept are a running mean with this decay, such as 0.999; 0: those of the last step.
    freeze
        ``"none"``; ``"encoder"``: the way down stays as it is; ``"all-but-output"``: all but the last layer do.
    seed
        Of everything random.
    workers
        Threads that make crops; None: as many as there are processors.
    device, precision
        "auto", "cpu", "cuda", ...; "auto" (bfloat16 where the device is fast in it), "fp32", "bf16".
    compile
        Let torch compile the network: slow to start, faster afterwards on a GPU.
    reports
        How many times the network is validated and its pictures are drawn; a pretrained one is before it learns, too.
    validation_images
        Validated on during training, at most; at the end all are.
    patience
        Stop after so many reports without a better score; 0: never.
    save_seconds
        A stopped run loses no more than this.
    crop
        How crops are made.

    Examples
    --------
    >>> TrainOptions(crops=16000, ema=0.999).batch_size
    8
    """

    crops: int | None = None
    epochs: int = 100
    batch_size: int = 8
    lr: float | None = None
    weight_decay: float = 1e-4
    clip: float = 10.0
    warmup: float = 0.05
    ema: float = 0.0
    freeze: str = "none"
    seed: int = 0
    workers: int | None = None
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    reports: int = 20
    validation_images: int = 64
    patience: int = 0
    save_seconds: float = 120.0
    crop: CropOptions = field(default_factory=CropOptions)

    def __post_init__(self) -> None:
        checks.plain(self)
        for name in ("epochs", "batch_size", "reports", "validation_images"):
            checks.whole(name, getattr(self, name), 1)
        for name in ("crops", "workers"):
            if getattr(self, name) is not None:
                checks.whole(name, getattr(self, name), 1)
        checks.whole("patience", self.patience, 0)
        checks.whole("seed", self.seed, 0, 2**31 - 1)
        if self.lr is not None:
            checks.number("lr", self.lr, 1e-12, 10)
        for name in ("weight_decay", "clip", "save_seconds"):
            checks.number(name, getattr(self, name), 0)
        for name in ("ema", "warmup"):
            checks.part(name, getattr(self, name))
        checks.one_of("freeze", self.freeze, FREEZE)
        checks.one_of("precision", self.precision, ("auto", "fp32", "bf16"))
        checks.flag("compile", self.compile)

    def steps(self, images: int) -> int:
        """Return how many batches the training has."""
        crops = self.crops if self.crops is not None else self.epochs * images
        return max(1, -(-crops // self.batch_size))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        return asdict(self)
