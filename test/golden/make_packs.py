"""Small verification packs for src/data/packs.test.ts, which knows what they hold: 10 pairs of pictures of 6 x 6.

Run: python3 test/golden/make_packs.py   (with NumPy 2; writes python3-*.bin and numpy-*.bin to packs/ beside this file)
     python2 test/golden/make_packs.py   (no NumPy; writes python2-*.bin)
"""

import os
import pickle
import struct
import sys
import zlib

PAIRS, SIDE = 10, 6


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) & 0xFFFFFFFF)


def png(i):
    rows = b"".join(
        b"\x00" + bytes(bytearray((37 * i + 11 * y + 5 * x + 60 * c) % 256 for x in range(SIDE) for c in range(3)))
        for y in range(SIDE)
    )
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


images = [png(i) for i in range(2 * PAIRS)]
same = [p % 3 != 0 for p in range(PAIRS)]
folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "packs")
if not os.path.isdir(folder):
    os.makedirs(folder)


def write(name, data):
    with open(os.path.join(folder, name + ".bin"), "wb") as file:
        file.write(data)


if sys.version_info[0] == 2:
    import cPickle

    write("python2-protocol0", pickle.dumps((images, same), 0))
    write("python2-protocol2", cPickle.dumps((images, same), 2))
else:
    import numpy as np

    for protocol in (2, 4):
        write("python3-protocol%d" % protocol, pickle.dumps((images, same), protocol))
    array, scalars = np.array(same), [np.bool_(s) for s in same]
    write("numpy-array-protocol4", pickle.dumps((images, array), 4))
    write("numpy-array-protocol5", pickle.dumps([images, array], 5))
    write("numpy-scalars-protocol4", pickle.dumps((images, scalars), 4))
    # as NumPy 1 names its modules; names of protocol 2 are lines without a length
    for name, labels in (("array", array), ("scalars", scalars)):
        write("numpy1-%s-protocol2" % name, pickle.dumps((images, labels), 2).replace(b"cnumpy._core.", b"cnumpy.core."))
