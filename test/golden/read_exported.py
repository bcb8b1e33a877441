"""Reads .pt files of `mixbct export` as PyTorch does, weights only, and prints a line of what each network makes of fill((2, 3, side, side), 0, 0.01).

Run: python3 test/golden/read_exported.py FILE,NETWORK,DIM,SIDE,WIDTH …   (PyTorch 2, CPU; the networks are those of make_state_dicts.py)
"""

import json
import sys

import make_state_dicts as reference
import torch

for words in sys.argv[1:]:
    file, name, dim, side, width = words.split(",")
    state = torch.load(file, weights_only=True)
    net = reference.NETWORKS[name](int(dim), int(side), float(width)).eval()
    net.load_state_dict(state, strict=True)
    with torch.no_grad():
        print(json.dumps(net(reference.wave((2, 3, int(side), int(side)), 0, 0.01).float()).flatten().tolist()))
