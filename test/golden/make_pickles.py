"""Pickles of plain data in every protocol, for src/base/pickle.test.ts, which knows what they hold.

Run: python3 test/golden/make_pickles.py   (any Python from 3.8 on; rewrites pickles.json beside this file)
"""

import base64
import json
import pickle
from collections import OrderedDict
from pathlib import Path


class Anything:
    """Something that no reader of data knows."""


looped = [1]
looped.append(looped)
shared = ["shared"]
many = list(range(1200))  # more than one batch of the pickler
values = {
    "pack": ([b"\x89PNG\r\n\x00'\"\\", bytes(range(256)), b""], [True, False]),
    "numbers": [0, 1, -1, 255, 256, 65536, -(2**31), 2**31, 2**53, 2**53 + 1, -(2**70), 2**1000, 0.5, -1e300, float("inf")],
    "strings": ["", "plain", "ümläut ☃ 𝄞", "two\nlines\\u0041", "x" * 300],
    "containers": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {"a": {"b": None}}, {1: "one", (2, 3): "two"}],
    "sets": [{3}, frozenset([4])],
    "identity": [shared, shared, looped],
    "many": many,
    "ordered": OrderedDict(b=1, a=2),
    "anything": Anything(),
}
protocols = range(pickle.HIGHEST_PROTOCOL + 1)
result = {
    name: [base64.b64encode(pickle.dumps(value, protocol)).decode() for protocol in protocols]
    for name, value in values.items()
}
Path(__file__).with_name("pickles.json").write_text(json.dumps(result, indent=1) + "\n")
