"""Train a network: from a data set to a model file that `flowseg.load_model` opens, in a folder that tells how.

`train` is for notebooks and scripts, `run` for those who split and read their data themselves.
"""

from flowseg.training.asked import Asked, NewModel
from flowseg.training.loop import Progress
from flowseg.training.options import TrainOptions
from flowseg.training.run import Trained, run
from flowseg.training.run_folder import Report
from flowseg.training.simple import train
from flowseg.training.split import Split, fold, held_out

__all__ = [
    "Asked",
    "NewModel",
    "Progress",
    "Report",
    "Split",
    "TrainOptions",
    "Trained",
    "fold",
    "held_out",
    "run",
    "train",
]
