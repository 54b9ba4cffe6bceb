"""A file of statistics: a documented container with a version and a checksum.

Layout, all numbers little-endian:

    8 bytes     the mark "BLMMSTAT"
    u32, u32    version of the format (1), and zero
    u64         length of the header
    header      JSON in UTF-8; ``arrays`` lists name, dtype (NumPy's, such as "<f8"), shape and
                offset of each array, the offset from the first byte after the header's padding
    padding     zeros up to a multiple of 64 bytes from the file's start
    arrays      in C order, each padded with zeros to a multiple of 64 bytes
    32 bytes    SHA-256 of all bytes before

Reading one runs nothing. The formula and its expressions are text; on new rows those are evaluated
that do arithmetic and call functions of a known few (see ``expression_code.py``), and no other. The
checksum tells damage, not who has written the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from .errors import StatisticsFileError
from .replacing import replacing

Arrays = dict[str, npt.NDArray[Any]]

_MARK = b"BLMMSTAT"
_VERSION = 1
_HEAD = struct.Struct("<8sIIQ")
_ALIGNED = 64
_DIGEST = 32
_PIECE = 1 << 24


def write(path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Arrays) -> None:
    """Write a file, or leave things as they were.

    Parameters
    ----------
    path : str or path
        Replaced at once when all is written.
    header : mapping
        JSON values.
    arrays : dict of str to array
    """
    places, offset = [], 0
    for name, array in arrays.items():
        places.append([name, _little(array.dtype).str, list(array.shape), offset])
        offset += _padded(array.nbytes)
    text = json.dumps({**header, "arrays": places}).encode()
    with replacing(path) as place, place.open("wb") as file:
        out = _Digesting(file)
        out.write(_HEAD.pack(_MARK, _VERSION, 0, len(text)))
        out.write(text)
        out.pad()
        for array in arrays.values():
            out.write_array(array)
            out.pad()
        file.write(out.digest.digest())


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Arrays]:
    """Read a file that :func:`write` has written.

    Raises
    ------
    StatisticsFileError
        If it is no such file, of another version, truncated or altered.
    """
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(_MARK):
            raise StatisticsFileError(f"{os.fspath(path)!r} is no file of statistics")
        _, version, _, length = _HEAD.unpack(head)
        if version != _VERSION:
            raise StatisticsFileError(
                f"{os.fspath(path)!r} has version {version} of the format; this blocklmm reads "
                f"version {_VERSION}"
            )
        _require_digest(file, path, size)
        file.seek(_HEAD.size)
        try:
            return _contents(file, length, size - _DIGEST)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StatisticsFileError(
                f"{os.fspath(path)!r} holds no statistics that this blocklmm knows: {error!r}"
            ) from error


def _contents(file: BufferedReader, length: int, end: int) -> tuple[dict[str, Any], Arrays]:
    header = json.loads(file.read(length))
    first = _padded(_HEAD.size + length)
    arrays: Arrays = {}
    for name, kind, shape, offset in header.pop("arrays"):
        dtype = np.dtype(str(kind))  # None would be floats
        n_bytes = math.prod(shape) * dtype.itemsize
        fits = min(shape, default=0) >= 0 and 0 <= offset <= end - first - n_bytes
        if dtype.kind not in "biuf" or not fits:
            raise ValueError(f"no array {name!r} of numbers within the file")
        file.seek(first + offset)
        array = np.empty(tuple(shape), dtype=dtype)
        file.readinto(array.reshape(-1).view(np.uint8).data)
        arrays[name] = array
    return header, arrays


def _require_digest(file: BinaryIO, path: str | os.PathLike[str], size: int) -> None:
    file.seek(0)
    digest, left = hashlib.sha256(), size - _DIGEST
    while left > 0 and (piece := file.read(min(_PIECE, left))):
        digest.update(piece)
        left -= len(piece)
    if left != 0 or file.read(_DIGEST) != digest.digest():
        raise StatisticsFileError(
            f"{os.fspath(path)!r} is truncated or was altered: its checksum does not hold"
        )


class _Digesting:
    """Writes to a file and keeps the checksum of what went in."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size, self.digest = file, 0, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self.digest.update(data)
        self._size += len(data)

    def write_array(self, array: npt.NDArray[Any]) -> None:
        plain = np.ascontiguousarray(array, dtype=_little(array.dtype)).reshape(-1)
        view = plain.view(np.uint8).data
        for start in range(0, len(view), _PIECE):
            self.write(view[start : start + _PIECE])

    def pad(self) -> None:
        self.write(bytes(_padded(self._size) - self._size))


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
