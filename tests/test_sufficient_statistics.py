"""Statistics that are added, updated and cut down give the fits of the rows themselves."""

from __future__ import annotations

import copy
import pickle

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm import SufficientStatistics
from hypothesis import given, settings
from hypothesis import strategies as st

from .bad_data import says

N = 240


def make_data():
    """Three sites whose covariates and responses are far apart, and patients seen in several."""
    rng = np.random.default_rng(1)
    site = np.repeat(["north", "south", "west"], N // 3)
    g = rng.integers(0, 14, N)
    away = np.select([site == "south", site == "west"], [1e6, -300.0], 4.0)
    x = away + rng.normal(size=N)
    near, z = x - 0.9999 * away, rng.normal(size=N)
    b = rng.normal(size=(14, 3))
    y = 2 * (x - away) + 3 * b[g, 0] + b[g, 1] * near + 2 * b[g, 2] * z + rng.normal(size=N)
    return pd.DataFrame(
        {
            "y": y + away / 1e5,
            "x": x,
            "near": near,
            "z": z,
            "site": site,
            "arm": rng.choice(["a", "b", "c"], N),
            "g": g,
            "name": [f"p{k}" for k in g],
            "room": rng.integers(0, 4, N),
            "rater": rng.choice(["u", "v", "w", "q", "r"], N),
            "w": rng.uniform(0.5, 2, N),
            "shift": rng.normal(size=N),
        }
    )


DATA = make_data()
LEVELS = {"site": ["north", "south", "west"], "arm": ["a", "b", "c"], "room": [0, 1, 2, 3]}

MODELS = {
    "slopes": ("y ~ z * arm + (z | g)", {}),
    "no intercept": ("y ~ 0 + arm + z + (z | name)", {}),
    "several terms": ("y ~ z + site + (1 | g) + (0 + z | g)", {}),
    "weights and offset": ("y ~ z + site + (1 | name)", {"weights": "w", "offset": "shift"}),
    "contrasts": ("y ~ arm * z + C(room) + (1 | g)", {"contrasts": {"arm": "sum"}}),
    "joint labels": ("y ~ z + site + (1 | name:room)", {}),
    "no groups": ("y ~ z * site + arm", {}),
    "crossed": ("y ~ z + site + (1 | g) + (z | rater)", {"weights": "w"}),
    "nested": ("y ~ z + site + (1 | rater/room)", {}),
}
FAR_APART = {  # columns whose means are far apart in the parts
    "covariate": ("y ~ x + (1 | g)", {}),
    "by site": ("y ~ near * site + (1 | name)", {}),
    "random": ("y ~ z + (near | g)", {}),
}
MODELS |= FAR_APART
IN_MEMORY = {name: bl.lmer(formula, DATA, **more) for name, (formula, more) in MODELS.items()}


def of(name, data=DATA, **options):
    formula, more = MODELS[name]
    used = {k: v for k, v in LEVELS.items() if k in formula}
    return SufficientStatistics.from_data(formula, data, levels=used, **more, **options)


def assert_same(found, expected):
    """Equal but for the order of sums, which covariates far from zero feel."""
    near = 1e-10
    assert found.objective == pytest.approx(expected.objective, rel=1e-12)
    assert found.params.index.tolist() == expected.params.index.tolist()
    assert np.all(np.abs(found.params - expected.params) < near * expected.bse)
    largest = np.abs(expected.theta).max(initial=0.0)
    np.testing.assert_allclose(found.theta, expected.theta, rtol=0, atol=1e-9 * largest)
    assert found.nobs == expected.nobs
    assert found.ngroups == expected.ngroups
    assert found.dropped == expected.dropped
    for name, modes in expected.ranef().items():
        ours = found.ranef()[name]
        assert ours.index.tolist() == modes.index.tolist()
        np.testing.assert_allclose(ours, modes, rtol=0, atol=1e-8 * np.abs(modes).to_numpy().max())


def assert_same_bits(found, expected):
    assert found.objective == expected.objective
    np.testing.assert_array_equal(found.theta, expected.theta)
    np.testing.assert_array_equal(found.params, expected.params)
    np.testing.assert_array_equal(found.bse, expected.bse)
    for name, modes in expected.ranef().items():
        pd.testing.assert_frame_equal(found.ranef()[name], modes)


@pytest.mark.parametrize("name", IN_MEMORY)
def test_statistics_of_all_rows(name):
    found = of(name)
    assert_same_bits(found.fit(), IN_MEMORY[name])
    formula, _ = MODELS[name]
    assert found.formula == formula
    assert found.nobs == N
    assert found.ngroups == IN_MEMORY[name].ngroups
    assert f"{N} rows" in repr(found)
    again = bl.lmer(formula, DATA, reml=False, **MODELS[name][1])
    assert_same_bits(found.fit(reml=False), again)


def added(sets, rng):
    """The sum of sets in any order and grouping."""
    sets = list(sets)
    while len(sets) > 1:
        i, j = rng.permutation(len(sets))[:2]
        total = sets[i] + sets[j]
        sets = [s for k, s in enumerate(sets) if k not in (i, j)] + [total]
    return sets[0]


@pytest.mark.parametrize("name", IN_MEMORY)
def test_sites_are_added(name):
    sites = [of(name, rows) for _, rows in DATA.groupby("site")]
    for total in (sum(sites), sites[2] + (sites[0] + sites[1]), sites[1] + sites[2] + sites[0]):
        assert total.nobs == N
        assert_same(total.fit(), IN_MEMORY[name])
    assert [s.nobs for s in sites] == [N // 3] * 3


@given(st.sampled_from(sorted(IN_MEMORY)), st.integers(1, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_parts_of_any_size_in_any_order(name, n_parts, seed):
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, n_parts, N) if rng.random() < 0.5 else np.arange(N) * n_parts // N
    parts = [of(name, DATA[owner == k]) for k in np.unique(owner)]
    assert_same(added(parts, rng).fit(), IN_MEMORY[name])


@given(st.sampled_from(sorted(IN_MEMORY)), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_rows_that_come_later(name, n_parts, seed):
    rng = np.random.default_rng(seed)
    owner = np.sort(rng.integers(0, n_parts, N))
    parts = [DATA[owner == k] for k in rng.permutation(np.unique(owner))]
    found = of(name, parts[0])
    for part in parts[1:]:
        assert found.update(part) is found
    assert_same(found.fit(), IN_MEMORY[name])


def test_single_rows_are_added():
    few = DATA[:30]
    rows = [of("slopes", few[k : k + 1]) for k in range(len(few))]
    assert_same(sum(rows).fit(), bl.lmer(MODELS["slopes"][0], few))


def test_rows_come_in_chunks():
    formula, more = MODELS["weights and offset"]
    parts = [DATA[:100], DATA[100:]]
    found = SufficientStatistics.from_data(formula, iter(parts), levels=LEVELS, **more)
    assert_same(found.fit(), IN_MEMORY["weights and offset"])
    found = of("weights and offset", DATA[:50]).update(iter([DATA[50:90], DATA[90:]]))
    assert_same(found.fit(), IN_MEMORY["weights and offset"])


def test_levels_of_numbers_are_refused():
    for formula in ("y ~ room + (1 | g)", "y ~ z + (room | g)", "room ~ z + (1 | g)"):
        with says(bl.DataError, "'room'", "numbers", "C(room)"):
            bl.lmer(formula, DATA, levels={"room": [0, 1, 2, 3, 4]})
    for formula in ("y ~ C(room) + (1 | g)", "y ~ room + (1 | room)", "y ~ z"):
        bl.lmer(formula, DATA, levels={"room": [0, 1, 2, 3]})


def test_dropped_rows_are_added():
    gone = DATA.assign(z=DATA["z"].mask(DATA.index % 50 == 3))
    gone["name"] = gone["name"].mask(gone.index % 80 == 3)
    parts = [of("weights and offset", gone[k::4]) for k in range(4)]
    formula, more = MODELS["weights and offset"]
    whole = bl.lmer(formula, gone, **more)
    assert_same(sum(parts).fit(), whole)
    assert whole.dropped.by_column == {"z": 5, "name": 3}
    assert_same(of("weights and offset", gone[:90]).update(gone[90:]).fit(), whole)
    with says(bl.DataError, "missing values", "'z'"):
        of("weights and offset", DATA, missing="error").update(gone)


def test_the_order_of_levels():
    names = [f"p{k}" for k in range(20, -1, -1)]
    data = DATA.assign(name=pd.Categorical(DATA["name"], categories=names))
    parts = [of("weights and offset", data[k::3]) for k in range(3)]
    for found, rows in (
        (parts[0], DATA[::3]),
        (sum(parts), DATA),
        (of("weights and offset", data[:9]).update(data[9:]), DATA),
        (of("weights and offset", iter([data[:9], data[9:90]])).update([data[90:]]), DATA),
        (copy.copy(parts[2]).update(DATA[9:]), pd.concat([DATA[2::3], DATA[9:]])),  # plain text
    ):
        used = set(rows["name"])
        shown = found.fit().ranef()["name"].index.tolist()
        is_own = len(rows) <= N
        assert shown == ([name for name in names if name in used] if is_own else sorted(used))
        sizes = found.group_sizes()["name"]
        assert sizes.index.tolist() == shown
        assert sizes.to_dict() == rows["name"].value_counts().to_dict()


@pytest.mark.parametrize("name", ["slopes", "joint labels", "crossed"])
def test_sizes_of_groups(name):
    total = sum(of(name, DATA[k::3]) for k in range(3))
    for group, sizes in total.group_sizes().items():
        columns = [DATA[c].astype(str) for c in group.split(":")]
        labels = columns[0] if len(columns) == 1 else columns[0] + ":" + columns[1]
        assert {str(k): n for k, n in sizes.items()} == labels.value_counts().to_dict()
        assert sizes.index.tolist() == IN_MEMORY[name].ranef()[group].index.tolist()


# -- what stays as it is ---------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [False, True])
def test_fits_before_an_update_stay(keeps):
    found = of("slopes", DATA[:90], keep_groups=keeps)
    before = found.fit()
    modes, table = before.ranef()["g"], before.tidy(ddf="satterthwaite")
    found.update(DATA[90:])
    again = bl.lmer(MODELS["slopes"][0], DATA[:90])
    assert before.nobs == 90
    pd.testing.assert_frame_equal(before.ranef()["g"], modes)
    pd.testing.assert_frame_equal(before.tidy(ddf="satterthwaite"), table)
    later = before.conf_int(method="profile")
    pd.testing.assert_frame_equal(later, again.conf_int(method="profile"), rtol=1e-6)
    assert_same(found.fit(), IN_MEMORY["slopes"])


@pytest.mark.parametrize(
    "twin",
    [
        copy.copy,
        copy.deepcopy,
        lambda s: pickle.loads(pickle.dumps(s)),
        lambda s: sum([s]),
        lambda s: copy.copy(copy.copy(s)),
    ],
)
@pytest.mark.parametrize("change", ["update", "subtract"])
def test_copies_go_their_own_ways(twin, change):
    first = of("slopes", DATA[:90], keep_groups=True)
    second = twin(first)
    before = first.fit()
    for one, other in ((first, second), (second, first)):
        n = other.nobs
        one.update(DATA[90:]) if change == "update" else one.subtract_group(3)
        assert other.nobs == n
    assert_same(first.fit(), second.fit())
    assert before.nobs == 90
    rest = DATA if change == "update" else DATA[:90].query("g != 3")
    assert_same(second.fit(), bl.lmer(MODELS["slopes"][0], rest))


def test_sums_leave_their_parts_alone():
    parts = [of("crossed", DATA[k::2]) for k in range(2)]
    fits = [part.fit() for part in parts]
    total = parts[0] + parts[1]
    total.update(DATA[:30])
    for part, fit in zip(parts, fits, strict=True):
        assert_same_bits(part.fit(), fit)
    assert total.nobs == N + 30


def test_a_failed_update_changes_nothing():
    found = of("slopes", DATA[:200])
    before = found.fit()
    for rows, parts in (
        (DATA.assign(arm="new"), ("'arm'", "'new'")),
        (DATA.assign(z=np.inf), ("'z'", "infinite")),
        (DATA.assign(g=DATA["name"]), ("'g'", "two kinds")),
        (DATA.drop(columns="z"), ("no column 'z'",)),
        (DATA.assign(z=np.nan), ("no row is left",)),
        ([DATA, DATA.assign(z="1")], ("'z'",)),
        (DATA[:0], ("no rows",)),
        ("nowhere.parquet", ("no file",)),
    ):
        with says((bl.DataError, bl.IncompatibleError), *parts):
            found.update(rows)
        assert found.nobs == 200
        assert_same_bits(found.fit(), before)


def test_a_failed_update_leaves_what_shares_the_statistics():
    """The rows that come after it change no earlier fit, and no copy."""
    found = of("slopes", DATA[:90])
    fit, twin = found.fit(), copy.copy(found)
    shrinkage, theta = fit.shrinkage()["g"], twin.fit().theta
    with says(bl.IncompatibleError, "two kinds"):
        found.update(DATA[90:120].assign(g=DATA["name"]))
    found.update(DATA[90:])
    assert (fit.nobs, twin.nobs, found.nobs) == (90, 90, N)
    pd.testing.assert_frame_equal(fit.shrinkage()["g"], shrinkage)
    np.testing.assert_array_equal(twin.fit().theta, theta)
    assert_same(twin.update(DATA[90:]).fit(), IN_MEMORY["slopes"])


# -- without a group -------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_groups_are_taken_away(seed):
    rng = np.random.default_rng(seed)
    data = DATA[rng.random(N) < 0.8]
    found = sum(of("slopes", data[data["site"] == s], keep_groups=True) for s in LEVELS["site"])
    assert_same(found.fit(), bl.lmer(MODELS["slopes"][0], data))
    for label in rng.permutation(14)[: rng.integers(1, 9)].tolist():
        assert found.subtract_group(label) is found
        data = data[data["g"] != label]
    assert_same(found.fit(), bl.lmer(MODELS["slopes"][0], data))
    assert found.group_sizes()["g"].to_dict() == data["g"].value_counts().to_dict()
    gone = DATA[~DATA["g"].isin(data["g"])]
    if len(gone):
        found.update(gone)
        assert_same(found.fit(), bl.lmer(MODELS["slopes"][0], pd.concat([data, gone])))


@pytest.mark.parametrize("size", [1e4, 1e6, 1e8])
def test_a_group_far_larger_than_the_others_leaves_nothing_behind(size):
    is_far = DATA["g"] == 3
    data = DATA.assign(y=DATA["y"].where(~is_far, size * DATA["y"]))
    found = of("slopes", data, keep_groups=True).subtract_group(3).fit()
    alone = bl.lmer(MODELS["slopes"][0], data[~is_far])
    assert found.objective == pytest.approx(alone.objective, rel=1e-12)
    assert found.theta == pytest.approx(alone.theta, rel=1e-7)


def test_joint_groups_are_taken_away():
    formula = "y ~ z + (z | name:room)"
    found = SufficientStatistics.from_data(formula, DATA, keep_groups=True)
    found.subtract_group(("p3", 2))
    rest = DATA[(DATA["name"] != "p3") | (DATA["room"] != 2)]
    assert_same(found.fit(), bl.lmer(formula, rest))
    with says(bl.DataError, "'name:room'", "2 labels"):
        found.subtract_group("p3:2")
    with says(bl.DataError, "no level ('p3', 2)"):
        found.subtract_group(("p3", 2))


def test_groups_that_can_not_be_taken_away():
    with says(bl.OptionError, "keep_groups=True"):
        of("slopes").subtract_group(3)
    found = of("no intercept", keep_groups=True)
    with says(bl.DataError, "'name' has no level 'p99'", "mean 'p9'"):
        found.subtract_group("p99")
    with says(bl.DataError, "label of 'name'", "one value", "['p1', 'p2']"):
        found.subtract_group(["p1", "p2"])
    with says(bl.DataError, "no level 3", "'name' are texts", "a number"):
        found.subtract_group(3)
    numbered = of("slopes", keep_groups=True)
    for wrong, kind in (("3", "a text"), (True, "a boolean"), (None, "a NoneType")):
        with says(bl.DataError, f"no level {wrong!r}:", "'g' are numbers", kind):
            numbered.subtract_group(wrong)
    assert numbered.nobs == N
    only = of("slopes", DATA[DATA["g"] == 3], keep_groups=True)
    with says(bl.DataError, "only level"):
        only.subtract_group(3)
    for name, parts in {
        "crossed": ("one grouping factor",),
        "no groups": ("one grouping factor",),
        "weights and offset": ("without weights",),
    }.items():
        with says(bl.OptionError, "keep_groups", *parts):
            of(name, keep_groups=True)
    with says(bl.OptionError, "needs an intercept"):
        SufficientStatistics.from_data("y ~ 0 + z + (0 + z | g)", DATA, keep_groups=True)
    with says(bl.OptionError, "keep_groups", "True", "False"):
        of("slopes", keep_groups=True) + of("slopes")
