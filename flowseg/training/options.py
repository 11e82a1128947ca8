"""What can be set about a training, as one frozen record."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from flowseg import checks
from flowseg.dataset import CropOptions
from flowseg.errors import OptionError

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
        How many times the network is validated and its pictures are drawn.
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
        for item in fields(self):
            self._check_kind(item.name, item.type.__name__ if isinstance(item.type, type) else str(item.type))
        for name in ("epochs", "batch_size", "reports", "validation_images"):
            self._wanted(name, getattr(self, name) >= 1, "at least 1")
        self._wanted("crops", self.crops is None or self.crops >= 1, "at least 1")
        self._wanted("workers", self.workers is None or self.workers >= 1, "at least 1")
        self._wanted("lr", self.lr is None or 0 < self.lr < 10, "more than 0 and less than 10")
        self._wanted("ema", 0 <= self.ema < 1, "from 0 to less than 1")
        self._wanted("warmup", 0 <= self.warmup < 1, "from 0 to less than 1")
        self._wanted("seed", 0 <= self.seed < 2**31, "from 0 to 2147483647")
        for name in ("weight_decay", "clip", "patience", "save_seconds"):
            self._wanted(name, getattr(self, name) >= 0, "0 or more")
        self._wanted("freeze", self.freeze in FREEZE, f"one of {', '.join(FREEZE)}")
        self._wanted("precision", self.precision in ("auto", "fp32", "bf16"), "one of auto, fp32, bf16")

    def _check_kind(self, name: str, kind: str) -> None:
        """Refuse text for numbers, and parts of what is counted."""
        value = getattr(self, name)
        if value is None and kind.endswith("| None"):
            return
        if kind.startswith("int"):
            self._wanted(name, isinstance(value, int) and not isinstance(value, bool), "a whole number")
        elif kind.startswith("float"):
            self._wanted(name, isinstance(value, int | float) and not isinstance(value, bool), "a number")
        elif kind.startswith("bool"):
            checks.flag(name, value)

    def _wanted(self, name: str, right: bool, what: str) -> None:
        if not right:
            raise OptionError(f"{name} is {getattr(self, name)!r}; wanted {what}")

    def steps(self, images: int) -> int:
        """Return how many batches the training has."""
        crops = self.crops if self.crops is not None else self.epochs * images
        return max(1, -(-crops // self.batch_size))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        return asdict(self)
