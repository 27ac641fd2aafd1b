"""Writes named arrays as a .safetensors file. In: NumPy arrays. Out: a file.

The format: 8 bytes little-endian length of the header, the header as JSON (padded with spaces to a multiple of 8), then the arrays' bytes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any


def write(path: Path, tensors: dict[str, Any]) -> None:
    """Writes float32 arrays, row-major, in the order given."""
    import numpy

    header: dict[str, Any] = {}
    chunks: list[bytes] = []
    offset = 0
    for name, array in tensors.items():
        data = numpy.ascontiguousarray(array, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode("utf8")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(chunks)
