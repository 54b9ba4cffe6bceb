"""Statistics in files: the same when they come back; damage of any kind is one error."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from contextlib import suppress

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm import SufficientStatistics
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .bad_data import says
from .test_sufficient_statistics import DATA, IN_MEMORY, MODELS, N, assert_same_bits, of

MORE = {
    "poly": ("y ~ poly(z, 2) + (1 | g)", {}),
    "scale": ("y ~ scale(z) * arm + (scale(z) | g)", {}),
    "center": ("y ~ center(near) + (1 | name)", {}),
    "splines": ("y ~ bs(z, df=5) + cr(near, df=3) + (1 | g)", {}),
    "response": ("log(y + 400) ~ z + offset(shift) + (1 | g)", {"weights": "1 / w"}),
    "helmert": ("y ~ C(arm, contr.helmert) + C(room, contr.poly) + (1 | g)", {}),
    "quoted": ("y ~ `the z` + (0 + `the z` | g)", {}),
    "booleans": ("y ~ flag * z + (1 | early)", {}),
}
NUL = "" if pd.__version__.startswith("2.") else "\x00"  # pandas 2 reads texts up to one
DATA = DATA.assign(**{"the z": DATA["z"], "flag": DATA["room"] > 1, "early": DATA["g"] < 7})


def statistics(name, data=DATA, **options):
    if name in MODELS:
        return of(name, data, **options)
    formula, more = MORE[name]
    return SufficientStatistics.from_data(formula, data, **more, **options)


def saved(found, path):
    found.save(path, min_cell=0)
    return path


def back(found, path):
    return SufficientStatistics.load(saved(found, path))


@pytest.mark.parametrize("name", [*MODELS, *MORE])
def test_what_comes_back(tmp_path, name):
    found = statistics(name)
    again = back(found, tmp_path / "statistics")
    fit, other = found.fit(), again.fit()
    assert_same_bits(other, fit)
    assert (again.formula, again.nobs, again.ngroups) == (found.formula, N, found.ngroups)
    assert again.dropped == found.dropped
    assert again.group_sizes().keys() == found.group_sizes().keys()
    for group, sizes in found.group_sizes().items():
        pd.testing.assert_series_equal(again.group_sizes()[group], sizes)
    new = DATA[::7]
    for interval in (None, "prediction"):
        expected = fit.predict(new, interval=interval)
        np.testing.assert_array_equal(other.predict(new, interval=interval), expected)
    direct = bl.lmer(found.formula, DATA, **(MODELS | MORE)[name][1])
    np.testing.assert_allclose(other.predict(new), direct.predict(new), rtol=1e-9)
    # saved again, the file is the same
    assert saved(again, tmp_path / "again").read_bytes() == (tmp_path / "statistics").read_bytes()


@pytest.mark.parametrize("name", ["slopes", "joint labels", "crossed", "poly", "contrasts"])
def test_what_comes_back_is_added_and_updated(tmp_path, name):
    whole = statistics(name)
    if name == "poly":  # learnt from all rows
        found = back(whole, tmp_path / "all").update(DATA[:50])
        assert_same_bits(found.fit(), statistics(name).update(DATA[:50]).fit())
        return
    parts = [statistics(name, DATA[k::2]) for k in range(2)]
    loaded = [back(part, tmp_path / str(k)) for k, part in enumerate(parts)]
    assert_same_bits(sum(loaded).fit(), sum(parts).fit())
    assert_same_bits((loaded[0] + parts[1]).fit(), sum(parts).fit())
    assert_same_bits(loaded[0].update(DATA[1::2]).fit(), parts[0].update(DATA[1::2]).fit())


def test_groups_of_what_comes_back_are_taken_away(tmp_path):
    found = back(of("slopes", keep_groups=True), tmp_path / "s").subtract_group(3)
    assert_same_bits(found.fit(), of("slopes", keep_groups=True).subtract_group(3).fit())
    strict = back(of("slopes", missing="error"), tmp_path / "s")
    with says(bl.DataError, "missing values"):
        strict.update(DATA.assign(z=np.nan))


@pytest.mark.parametrize(
    "labels",
    [
        DATA["g"] * 2**58,
        DATA["g"] + 0.1,
        DATA["g"].astype(float),
        DATA["g"].astype("int8"),
        DATA["g"].astype("Int64"),
        DATA["g"] > 6,
        f"größe{NUL} " + DATA["name"],
        DATA["name"].astype(object),
        pd.Categorical(DATA["name"], categories=[f"p{k}" for k in range(20, -1, -1)]),
        pd.Categorical(DATA["g"], categories=range(20, -1, -1)),
    ],
    ids=range(10),
)
def test_labels_come_back(tmp_path, labels):
    data = DATA.assign(g=labels)
    formulas = ["y ~ z + (1 | g)", "y ~ z + (1 | g:room)"]
    for formula in formulas[:1] if hasattr(labels, "categories") else formulas:
        fit = SufficientStatistics.from_data(formula, data).fit()
        other = back(SufficientStatistics.from_data(formula, data), tmp_path / "s").fit()
        for group, modes in fit.ranef().items():
            found = other.ranef()[group]
            assert found.index.tolist() == modes.index.tolist()
            np.testing.assert_array_equal(found, modes)
        assert other.objective == fit.objective
        np.testing.assert_array_equal(other.params, fit.params)
        np.testing.assert_array_equal(other.predict(data[:9]), fit.predict(data[:9]))


def test_labels_that_can_not_be_saved(tmp_path):
    days = pd.to_datetime(DATA["g"], unit="D")
    found = SufficientStatistics.from_data("y ~ z + (1 | g)", DATA.assign(g=pd.Categorical(days)))
    with says(bl.DataError, "1970-01", "can be saved"):
        found.save(tmp_path / "s", min_cell=0)
    levels = pd.Categorical(pd.to_datetime(DATA["room"], unit="D"))
    found = SufficientStatistics.from_data("y ~ day + (1 | g)", DATA.assign(day=levels))
    with says(bl.DataError, "1970-01", "can't be saved"):
        found.save(tmp_path / "s", min_cell=0)
    assert os.listdir(tmp_path) == []


# -- damage ----------------------------------------------------------------------------------


class Content(bytes):
    """Bytes that a failing test does not show."""

    def __repr__(self):
        return f"{len(self)} bytes"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "s"
    saved(of("joint labels", DATA[:60]), path)
    return Content(path.read_bytes())


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Write bytes and load them; nothing but a StatisticsFileError may come of it."""
    path = tmp_path_factory.mktemp("damaged") / "statistics of site 7"

    def load(content):
        path.write_bytes(content)
        with says(bl.StatisticsFileError, "statistics of site 7") as caught:
            SufficientStatistics.load(path)
        return str(caught.value)

    return load


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("other headers")


PROPERTY = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(st.data())
@PROPERTY
def test_any_byte_is_changed(content, damaged, data):
    place = data.draw(st.one_of(st.integers(0, 63), st.integers(0, len(content) - 1)))
    value = data.draw(st.integers(1, 255))
    changed = bytearray(content)
    changed[place] ^= value
    damaged(bytes(changed))


@given(st.data())
@PROPERTY
def test_any_end_is_lost(content, damaged, data):
    size = data.draw(st.one_of(st.integers(0, 90), st.integers(0, len(content) - 1)))
    damaged(content[:size])


@given(st.binary(min_size=1, max_size=200))
@PROPERTY
def test_anything_is_appended(content, damaged, more):
    damaged(content + more)


@given(st.binary(max_size=300))
@PROPERTY
def test_any_other_file(damaged, other):
    assert "no file of statistics" in damaged(other)


@given(st.binary(max_size=200))
@PROPERTY
def test_anything_after_the_mark(content, damaged, more):
    damaged(content[:12] + more)
    damaged(content[:24] + more)


def test_files_of_other_versions(content, damaged):
    for version in (0, 2, 2**31):
        said = damaged(sealed(content[:8] + struct.pack("<I", version) + content[12:-32]))
        assert f"version {version}" in said
        assert "reads version 1" in said
    for kind, said in ((b"", "no file of statistics"), (b"\x89HDF\r\n\x1a\n" * 40, "no file")):
        assert said in damaged(kind)


def sealed(content):
    return content + hashlib.sha256(content).digest()


def with_header(content, header):
    """The file with another header and a checksum that holds."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = struct.unpack_from("<Q", content, 16)[0]
    first = -(-(24 + length) // 64) * 64
    head = content[:16] + struct.pack("<Q", len(text)) + text
    return sealed(head + bytes(-len(head) % 64) + content[first:-32])


def header_of(content):
    length = struct.unpack_from("<Q", content, 16)[0]
    return json.loads(content[24 : 24 + length])


def test_a_header_that_is_written_as_it_was(content, tmp_path):
    path = tmp_path / "s"
    path.write_bytes(with_header(content, header_of(content)))
    assert_same_bits(SufficientStatistics.load(path).fit(), of("joint labels", DATA[:60]).fit())


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        {},
        None,
        3,
        {"kind": "SufficientStatistics"},
        {"kind": "Forest", "arrays": []},
        {"arrays": [["shift", "<f8", [-1], 0]]},
        {"arrays": [["shift", "<f8", [2**50], 0]]},
        {"arrays": [["shift", "O", [2], 0]]},
        {"arrays": [["shift", "nonsense", [2], 0]]},
        {"arrays": [["shift", None, [2], 0]]},
        {"arrays": [["shift", "<f8", [2], -(10**9)]]},
        {"arrays": [["shift", "<f8", [2], 10**9]]},
        {"arrays": [["shift", "<f8"]]},
        {"arrays": 5},
    ],
    ids=range(19),
)
def test_headers_of_another_kind(content, damaged, header):
    """Files that are whole, but hold something else."""
    damaged(with_header(content, header))


def places_of(value, path=()):
    """All places of a JSON value, the whole of it left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places_of(inner, (*path, key))


@given(st.data())
@settings(PROPERTY, max_examples=250)
def test_headers_with_a_value_of_another_type(content, folder, data):
    """No accident makes such a file; what is wrong with it is found, or does not matter to load."""
    header = header_of(content)
    *before, last = data.draw(st.sampled_from(list(places_of(header))))
    inner = header
    for key in before:
        inner = inner[key]
    old = inner[last]
    if data.draw(st.booleans()) and isinstance(inner, dict):
        del inner[last]
    else:
        odd = [
            *((old - 1, old + 1, 10**6, -1, 2**70) if type(old) is int else ()),
            None,
            [],
            {},
            "text",
            ["text", 3],
            {"items": [[1]]},
            {"array": ["a", []]},
        ]
        inner[last] = data.draw(st.sampled_from([value for value in odd if value != old]))
    path = folder / "s"
    path.write_bytes(with_header(content, header))
    with suppress(bl.StatisticsFileError):
        SufficientStatistics.load(path)


# -- writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fails_at",
    ["os.replace", "pathlib.Path.chmod", "blocklmm.statistics_file._Digesting.write_array"],
)
def test_an_interrupted_save_leaves_what_was_there(tmp_path, monkeypatch, fails_at):
    path = tmp_path / "s"
    before = saved(of("slopes", DATA[:90]), path).read_bytes()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fails_at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        of("slopes").save(path, min_cell=0)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["s"]
    assert path.read_bytes() == before


def test_where_files_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        SufficientStatistics.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        SufficientStatistics.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no such folder: '.*no folder'$"):
        of("slopes").save(tmp_path / "no folder" / "s", min_cell=0)
    with pytest.raises(IsADirectoryError, match=f"'{tmp_path}'$"):
        of("slopes").save(tmp_path, min_cell=0)
    assert os.listdir(tmp_path) == []
    path = saved(of("slopes", DATA[:90]), str(tmp_path / "s"))
    saved(of("slopes"), path)
    assert SufficientStatistics.load(path).nobs == N
    assert os.listdir(tmp_path) == ["s"]
    assert issubclass(bl.StatisticsFileError, bl.BlocklmmError)
    assert issubclass(bl.StatisticsFileError, OSError)


@pytest.mark.parametrize("write", ["save", "predict"])
def test_who_may_read_a_file(tmp_path, write):
    """Whoever the umask, or the file that was there, lets read."""
    path = tmp_path / "s"
    found = of("slopes")
    fit = bl.lmer(found.formula, DATA)

    def mode():
        if write == "save":
            found.save(path, min_cell=0)
        else:
            fit.predict(DATA, out=path)
        return stat.S_IMODE(path.stat().st_mode)

    for mask, expected in ((0o022, 0o644), (0o007, 0o660), (0o077, 0o600)):
        before = os.umask(mask)
        try:
            assert mode() == expected
        finally:
            os.umask(before)
        path.unlink()
    path.touch()
    path.chmod(0o640)
    assert mode() == 0o640
    with pytest.raises(FileNotFoundError, match=r"no such folder: '.*nowhere'$"):
        fit.predict(DATA, out=tmp_path / "nowhere" / "s")


def test_files_hold_no_rows(tmp_path):
    small, large = of("crossed"), of("crossed", pd.concat([DATA] * 20))
    sizes = [os.path.getsize(saved(s, tmp_path / "s")) for s in (small, large)]
    assert sizes[1] < sizes[0] + 200
    assert IN_MEMORY["crossed"].nobs == small.nobs
