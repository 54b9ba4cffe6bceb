"""No fit of hard small data ends above the best of many starts, or without its certificate."""

from __future__ import annotations

from . import hard_data


def test_no_optimum_is_missed():
    rows = hard_data.study(range(1000, 1080), n_starts=5)
    assert [row for row in rows if row[2] > 1e-6] == []
    assert all(row[4] for row in rows)


def test_no_optimum_is_missed_with_several_factors():
    rows = hard_data.study(range(1000, 1060), n_starts=5, make=hard_data.make_several)
    assert [row for row in rows if row[2] > 1e-6] == []
    assert all(row[4] for row in rows)
