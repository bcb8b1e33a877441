"""Checkpoints as people have them: other objects beside the state, wrappers' prefixes, the format before PyTorch 1.6, other float types.

Run: python3 test/golden/make_checkpoints.py   (PyTorch 2.13 and NumPy, CPU; rewrites checkpoints/ and checkpoints.json beside this file)
"""

import argparse
import json
import pathlib
import sys
import types
from collections import OrderedDict

import make_state_dicts as reference
import numpy
import torch

DIM, SIDE, WIDTH = 3, 16, 1 / 64


class Meter:
    """A class of the training script, which no reader has."""

    def __init__(self):
        self.best = numpy.float64(0.5)


class Scores(dict):
    pass


class Losses(list):
    pass


# as if the script had defined them
for own in (Meter, Scores, Losses):
    own.__module__ = "train_script"
script = types.ModuleType("train_script")
script.Meter, script.Scores, script.Losses = Meter, Scores, Losses
sys.modules["train_script"] = script


def without_counters(state):
    return OrderedDict((name, value) for name, value in state.items() if not name.endswith("num_batches_tracked"))


def prefixed(state, prefix):
    return OrderedDict((prefix + name, value) for name, value in state.items())


def main(folder):
    folder.mkdir(exist_ok=True)
    numbers = []

    def keep(file, dress, dtype=None, **options):
        net, about = reference.build("r18", DIM, SIDE, WIDTH, dtype)
        state = net.to(dtype).state_dict() if dtype else net.state_dict()
        torch.save(dress(state), folder / file, **options)
        numbers.append({"file": file, **about, "leftOut": []})

    def beside(state):
        return {
            "args": argparse.Namespace(lr=0.1, network="r18", out=pathlib.PurePosixPath("/runs/a")),
            "best": numpy.float64(0.9),
            "history": numpy.arange(6, dtype=numpy.float32).reshape(2, 3),
            "meter": Meter(),
            "scores": Scores(a=1),
            "losses": Losses([1.0, 2.0]),
            "dtype": torch.float16,
            "device": torch.device("cpu"),
            "rng": torch.get_rng_state(),
            "complex": torch.zeros(2, dtype=torch.complex64),
            "state_dict": prefixed(without_counters(state), "module._orig_mod.backbone."),
            "epoch": 3,
        }

    keep("beside.pt", beside)
    keep("beside_legacy.pt", beside, _use_new_zipfile_serialization=False)
    keep("inside.pt", lambda state: OrderedDict(state, _extra=Meter(), step=numpy.int64(3), note="kept", scale=None))
    keep("double.pt", lambda state: prefixed(state, "module."), torch.float64)
    keep("bfloat16.pt", lambda state: prefixed(state, "_orig_mod.model."), torch.bfloat16)
    keep("half_legacy.pt", lambda state: state, torch.float16, _use_new_zipfile_serialization=False)
    keep("protocol4.pt", beside, pickle_protocol=4)

    # views of one storage, in the format before 1.6
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    views = {"transposed": base.t(), "block": base[1:3, 1:6:2], "parameter": torch.nn.Parameter(base[0]), "count": torch.tensor(7)}
    torch.save(views, folder / "views_legacy.pt", _use_new_zipfile_serialization=False)
    tensors = {k: {"shape": list(v.shape), "numbers": v.detach().double().flatten().tolist()} for k, v in views.items()}
    folder.with_suffix(".json").write_text(json.dumps({"networks": numbers, "views": tensors}, indent=1) + "\n")


torch.set_num_threads(1)
main(pathlib.Path(__file__).with_name("checkpoints"))
