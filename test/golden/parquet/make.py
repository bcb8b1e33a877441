"""The 40 rows of make.mjs as pyarrow writes them, in the compressions that make.mjs leaves out.

Made once with pyarrow 25.0.1: python3 test/golden/parquet/make.py
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

rows = range(40)
table = pa.table(
    {
        "name": [f"image {i}" for i in rows],
        "vector": pa.array([[i + 0.5, -i - 1, 1] for i in rows], pa.list_(pa.float32())),
        "pair": pa.array([[i, 0.25] for i in rows], pa.list_(pa.float64(), 2)),
        "person": pa.array([7 * (i % 3) for i in rows], pa.int64()),
    }
)
here = Path(__file__).parent
for codec in ["zstd", "brotli", "lz4"]:
    # lz4 of pyarrow is LZ4_RAW of the format
    pq.write_table(table, here / f"pyarrow-{codec}.parquet", compression=codec, row_group_size=16)
