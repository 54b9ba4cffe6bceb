"""What statistics are refused for, smaller models of them, and what their fits can tell."""

from __future__ import annotations

import re
import warnings
from dataclasses import asdict

import blocklmm as bl
import numpy as np
import pandas as pd
import pytest
from blocklmm import SufficientStatistics

from .bad_data import says
from .test_sufficient_statistics import DATA, LEVELS, MODELS, N, assert_same, of

from_data = SufficientStatistics.from_data

# -- statistics of different models ----------------------------------------------------------


def made(formula, data=DATA, **options):
    return from_data(formula, data, **options)


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [
        (
            made("y ~ z + (1 | g)"),
            made("x ~ z + (1 | g)"),
            ("the response", "'y'", "'x'"),
        ),
        (
            made("y ~ z + (1 | g)"),
            made("y ~ near + arm + (1 | g)"),
            ("the fixed effects", "1 + z", "1 + near + arm"),
        ),
        (
            made("y ~ z + (1 | g)"),
            made("y ~ z + (z | g)"),
            ("the random effects", "(1 | g)", "(1 + z | g)"),
        ),
        (
            made("y ~ z + (1 | g)"),
            made("y ~ z + (1 | name)"),
            ("the random effects", "(1 | g)", "(1 | name)"),
        ),
        (made("y ~ z + (1 | g)"), made("y ~ z"), ("the random effects", "(1 | g)", "none")),
        (
            made("y ~ z + (1 | g)"),
            made("y ~ z + (1 | g)", weights="w"),
            ("the weights", "none", "w"),
        ),
        (
            made("y ~ z + (1 | g)", offset="shift"),
            made("y ~ z + (1 | g)", offset="x"),
            ("the offset", "shift", "x"),
        ),
        (
            made("y ~ z + offset(shift) + (1 | g)"),
            made("y ~ z + (1 | g)"),
            ("the offset", "shift", "none"),
        ),
        (
            made("y ~ arm + (1 | g)"),
            made("y ~ arm + (1 | g)", DATA[DATA["arm"] != "b"]),
            ("the levels of 'arm'", "only in one 'b'", "in the other none"),
        ),
        (
            made("y ~ site + (1 | g)", levels={"site": ["north", "south", "west"]}),
            made("y ~ site + (1 | g)", levels={"site": ["west", "south", "north"]}),
            ("the order of the levels of 'site'", "['west', 'south', 'north']"),
        ),
        (
            made("y ~ arm + (1 | g)"),
            made("y ~ arm + (1 | g)", contrasts={"arm": "sum"}),
            ("the contrasts of 'arm'",),
        ),
        (
            made("y ~ poly(z, 2) + (1 | g)", DATA[:120]),
            made("y ~ poly(z, 2) + (1 | g)", DATA[120:]),
            ("'poly(z, 2)' has learnt", "fixed numbers"),
        ),
        (
            made("y ~ z + (scale(z) | g)", DATA[:120]),
            made("y ~ z + (scale(z) | g)", DATA[120:]),
            ("'scale(z)' has learnt", "and"),
        ),
        (
            made("y ~ I(z - np.mean(z)) + (1 | g)", DATA[:120]),
            made("y ~ I(z - np.mean(z)) + (1 | g)", DATA[120:]),
            ("'I(z - np.mean(z))' has learnt", "whole column"),
        ),
        (
            made("y ~ arm + (1 | g)"),
            made("y ~ arm + (1 | g)", DATA.assign(arm=DATA["z"])),
            ("'arm'", "category and numeric"),
        ),
        (
            made("y ~ z + (1 | name)"),
            made("y ~ z + (1 | name)", DATA.assign(name=DATA["g"])),
            ("'name'", "two kinds", "text", "integer"),
        ),
        (
            made("y ~ z + (1 | name:room)"),
            made("y ~ z + (1 | name:room)", DATA.assign(room=DATA["room"] > 1)),
            ("'room'", "two kinds", "integer", "boolean"),
        ),
    ],
    ids=range(17),
)
def test_what_can_not_be_added(first, second, parts):
    sizes = first.nobs, second.nobs
    for one, other in ((first, second), (second, first)):
        with pytest.raises(bl.IncompatibleError) as caught:
            one + other
        if one is first:
            assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert (first.nobs, second.nobs) == sizes


def test_all_differences_are_shown():
    with says(bl.IncompatibleError, "the response", "the fixed effects", "the weights"):
        made("y ~ z + (1 | g)") + made("x ~ arm + (1 | g)", weights="w")


def test_incompatible_errors_are_value_errors():
    assert issubclass(bl.IncompatibleError, bl.BlocklmmError)
    assert issubclass(bl.IncompatibleError, ValueError)


def test_the_same_terms_in_other_words():
    total = made("y ~ z*arm + (z | g)", DATA[::2]) + made(
        "y ~ 1 + z + arm + z:arm + (1 + z | g)", DATA[1::2]
    )
    assert_same(total.fit(), bl.lmer("y ~ z*arm + (z | g)", DATA))


# -- smaller models --------------------------------------------------------------------------

SUBMODELS = {
    "y ~ near * site + z + arm + (1 + z | g) + (1 | rater)": [
        "y ~ near + (1 | g)",
        "y ~ arm + z + (z | g)",
        "y ~ near * site + (1 | rater)",
        "y ~ z + site + near + (1 | rater) + (1 + z | g)",
        "y ~ 1 + (0 + z | g)",
        "y ~ near * site + z + arm",
        "y ~ 0 + z + near + (1 | g)",
        "y ~ site + (1 | g) + (1 | rater)",
    ],
    "y ~ z * site * arm + (1 | g) + (0 + z | g)": [
        "y ~ z * site + (1 | g)",
        "y ~ z * arm + (0 + z | g)",
        "y ~ site * arm + (1 | g) + (0 + z | g)",
        "y ~ 1",
        "y ~ z + z:arm + (1 | g)",
        "y ~ z + site + z:site + z:arm + (1 | g) + (0 + z | g)",
    ],
    "y ~ near * site + (1 | g)": ["y ~ near + near:site + (1 | g)"],
    "y ~ poly(z, 2) + C(room, contr.sum) + (1 | name:room)": [
        "y ~ poly(z, 2) + (1 | name:room)",
        "y ~ C(room, contr.sum) + (1 | name:room)",
    ],
}


@pytest.mark.parametrize(
    ("large", "small"), [(large, small) for large, found in SUBMODELS.items() for small in found]
)
def test_smaller_models(large, small):
    found = made(large)
    before = found.fit()
    part = found.submodel(small)
    assert part.formula == small
    assert part.nobs == N
    assert_same(part.fit(), bl.lmer(small, DATA))
    assert_same(part.fit(reml=False), bl.lmer(small, DATA, reml=False))
    np.testing.assert_array_equal(part.fit().predict(DATA[:5]).shape, (5,))
    assert found.fit().objective == before.objective
    more = DATA[:40] if "poly" not in small else None
    if more is not None:
        assert_same(part.update(more).fit(), bl.lmer(small, pd.concat([DATA, more])))
        assert found.nobs == N


def test_smaller_models_in_other_words(tmp_path):
    """The factors of an interaction stand in another order."""
    formula, words = "y ~ z * arm + (z | g)", "y ~ arm + z + arm:z + (1 | g)"
    part = made(formula).submodel(words)
    part.save(tmp_path / "s", min_cell=0)
    expected = bl.anova(bl.lmer(words, DATA)).rename({"arm:z": "z:arm"})
    for found in (part, SufficientStatistics.load(tmp_path / "s")):
        table = bl.anova(found.fit())
        pd.testing.assert_frame_equal(table, expected, rtol=1e-6, check_index_type=False)
        again = found.submodel("y ~ z + arm + z:arm + (1 | g)")
        assert_same(again.fit(), bl.lmer("y ~ z * arm + (1 | g)", DATA))
    first, second = "y ~ 1 + (0 + z:arm | g)", "y ~ 1 + (0 + arm:z | g)"
    assert_same(made(first).submodel(second).submodel(first).fit(), bl.lmer(first, DATA))


def test_weighted_smaller_models():
    found = made("y ~ z * arm + (z | g)", weights="w", offset="shift")
    fit = bl.lmer("y ~ z + (1 | g)", DATA, weights="w", offset="shift")
    assert_same(found.submodel("y ~ z + (1 | g)").fit(), fit)
    keeps = of("slopes", keep_groups=True).submodel("y ~ z + (1 | g)")
    assert_same(keeps.fit(), bl.lmer("y ~ z + (1 | g)", DATA))
    with says(bl.OptionError, "keep_groups=True"):
        keeps.subtract_group(3)


def test_anova_of_one_set():
    formulas = ["y ~ z + (1 | g)", "y ~ z + arm + (1 | g)", "y ~ z * arm + (1 | g)"]
    found = made(formulas[-1])
    fits = [found.submodel(formula).fit(reml=False) for formula in formulas]
    whole = [bl.lmer(formula, DATA, reml=False) for formula in formulas]
    pd.testing.assert_frame_equal(bl.anova(*fits), bl.anova(*whole), rtol=1e-9)
    pd.testing.assert_frame_equal(bl.anova(*fits[:2]), bl.anova(*whole[:2]), rtol=1e-9)


@pytest.mark.parametrize(
    ("formula", "parts"),
    [
        ("y ~ z + near + (1 | g)", ("near", "the fixed effects", "no term")),
        ("y ~ z + (near | g)", ("near", "(near | g)", "no term")),
        ("y ~ z + (1 | rater)", ("no random effects of 'rater'",)),
        ("x ~ z + (1 | g)", ("another response or offset",)),
        ("y ~ z + offset(shift) + (1 | g)", ("another response or offset",)),
        ("y ~ 0 + arm + z + (1 | g)", ("arm", "coded in another way")),
        ("y ~ arm + z:arm + (1 | g)", ("z:arm", "coded in another way")),
    ],
)
def test_what_is_no_smaller_model(formula, parts):
    with says(bl.IncompatibleError, *parts):
        made("y ~ z * arm + (z | g)").submodel(formula)
    with pytest.raises(bl.FormulaError):
        made("y ~ z + (1 | g)").submodel("y ~ z + (1 |")


# -- what fits without rows can tell ---------------------------------------------------------

QUESTIONS = {
    "satterthwaite": lambda fit: fit.tidy(ddf="satterthwaite"),
    "kenward-roger": lambda fit: fit.tidy(ddf="kenward-roger"),
    "variance components": lambda fit: fit.tidy(effects="random"),
    "glance": lambda fit: fit.glance(),
    "ranova": bl.ranova,
    "profile": lambda fit: fit.conf_int(method="profile"),
    "Wald": lambda fit: fit.conf_int(),
    "icc": lambda fit: pd.Series(asdict(fit.icc())).drop(["by_group", "label"]).astype(float),
    "r2": lambda fit: pd.Series(asdict(fit.r2())),
    "ranef": lambda fit: pd.concat(fit.ranef()),
    "coef": lambda fit: pd.concat(fit.coef()),
    "summary": lambda fit: pd.Series(str(fit).splitlines()).iloc[:3],
}


@pytest.fixture(scope="module")
def fits():
    formula = MODELS["slopes"][0]
    parts = [of("slopes", DATA[k::3]) for k in range(3)]
    return sum(parts).fit(), bl.lmer(formula, DATA)


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_without_rows(fits, question):
    found, expected = (QUESTIONS[question](fit) for fit in fits)
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, rtol=1e-6, atol=1e-8)
    else:
        pd.testing.assert_series_equal(found, expected, rtol=1e-6)


def test_bootstrap_without_rows(fits):
    found, expected = (fit.bootstrap(20, seed=1) for fit in fits)
    for name in ("objective", "sigma", "factor", "beta", "bse"):
        ours, theirs = (getattr(sample.replicates, name) for sample in (found, expected))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_what_needs_rows_says_so(fits):
    fit, _ = fits
    for call in (
        lambda: fit.fittedvalues,
        lambda: fit.resid,
        fit.predict,
        fit.augment,
        fit.simulate,
        lambda: fit.refit(DATA["y"]),
        lambda: fit.tidy(robust="CR2"),
    ):
        with says(bl.DataError, "without its"):
            call()
    np.testing.assert_allclose(fit.predict(DATA), fits[1].fittedvalues, rtol=0, atol=1e-7)


# -- what files would give away --------------------------------------------------------------


def test_small_groups_are_pointed_out(tmp_path):
    few = DATA[:40]
    found = from_data("y ~ z + (z | g)", few)
    sizes = few["g"].value_counts()
    small, known = int((sizes < 5).sum()), int((sizes <= 2).sum())
    assert 0 < known < small < len(sizes)
    said = (
        rf"^{small} of {len(sizes)} groups of 'g' have fewer than 5 rows.*"
        rf"{known} of them not more than its 2 random effects"
    )
    with pytest.warns(bl.PrivacyWarning, match=said) as caught:
        found.save(tmp_path / "s")
    assert [warning.filename for warning in caught] == [__file__]
    assert SufficientStatistics.load(tmp_path / "s").nobs == 40
    with pytest.warns(bl.PrivacyWarning, match=f"^{int((sizes < 3).sum())} of .* than 3 rows"):
        found.save(tmp_path / "s", min_cell=3)
    found.save(tmp_path / "s", min_cell=0)
    large = from_data("y ~ z + (z | room)", DATA)
    large.save(tmp_path / "s")
    with pytest.warns(bl.PrivacyWarning, match="^4 of 4 groups of 'room' .* than 100 rows"):
        large.save(tmp_path / "s", min_cell=100)


def test_rare_levels_are_pointed_out(tmp_path):
    rare = DATA.assign(arm=DATA["arm"].where(DATA.index > 2, "rare"))
    found = from_data("y ~ arm + z", rare, weights="w")
    with pytest.warns(bl.PrivacyWarning, match="^1 of 4 levels of 'arm' .*than 5 rows.*'rare'$"):
        found.save(tmp_path / "s")
    found.save(tmp_path / "s", min_cell=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from_data("y ~ arm + (1 | g) + (1 | rater)", rare[:30]).save(tmp_path / "s")
    said = " ".join(str(warning.message) for warning in caught)
    assert {warning.category for warning in caught} == {bl.PrivacyWarning}
    for part in ("groups of 'g'", "levels of 'arm'"):
        assert part in said


def warned_of(found, path, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found.save(path, **options)
    assert all(warning.category is bl.PrivacyWarning for warning in caught)
    return [str(warning.message) for warning in caught]


RARE = "1 of 3 levels of 'arm' have fewer than 5 rows, which .*: 'b'$"


@pytest.mark.parametrize(
    ("formula", "options", "expected"),
    [
        ("y ~ arm", {}, [RARE]),
        ("y ~ arm", {"weights": "w"}, [RARE]),
        ("y ~ arm", {"contrasts": {"arm": "sum"}}, [RARE]),
        ("y ~ arm", {"contrasts": {"arm": "helmert"}}, [RARE]),
        ("y ~ z + arm", {"levels": {"arm": ["b", "a", "c"]}}, [RARE]),
        ("y ~ 0 + arm", {}, [RARE]),
        ("y ~ z + (arm | site)", {}, [RARE]),
        ("y ~ arm * site", {}, [RARE, "1 of 9 levels of 'arm:site' have .*: 'b:south'$"]),
        ("y ~ arm:z", {}, ["rows have each level of 'arm' can't be told"]),
        ("y ~ I(arm == 'b')", {}, ["is 1 in fewer than 5 rows, 2, "]),
        ("y ~ I(arm != 'b')", {"weights": "w"}, ["is 0 in fewer than 5 rows, 2, "]),
        ("y ~ C(I(arm == 'b'))", {}, ["1 of 2 levels of .* have fewer than 5 rows, .*: '1'$"]),
    ],
)
def test_rare_levels_are_pointed_out_however_they_are_coded(tmp_path, formula, options, expected):
    """Level b has two rows, which are of one site."""
    rare = DATA.assign(arm=np.where(DATA["z"] > 0, "a", "c"))
    rare.loc[rare.index[rare["site"] == "south"][:2], "arm"] = "b"
    said = warned_of(from_data(formula, rare, **options), tmp_path / "s")
    assert len(said) == len(expected)
    for text, pattern in zip(said, expected, strict=True):
        assert re.search(pattern, text), text
    many = DATA.assign(arm=np.resize(["a", "b", "c"], N))
    assert many.groupby(["arm", "site"]).size().min() > 20
    said = warned_of(from_data(formula, many, **options), tmp_path / "s")
    assert said == [] or formula == "y ~ arm:z"


def test_pairs_of_groups_are_pointed_out(tmp_path):
    """Of groups that meet in one row, the products of a slope's column are its value there."""
    formula, path = "y ~ z + (z | g) + (1 | rater)", tmp_path / "s"
    found = from_data(formula, DATA)
    met = DATA.groupby(["g", "rater"]).size()
    small = int((met < 5).sum())
    assert 0 < small < len(met)
    said = f"{small} of {len(met)} pairs of groups of 'g' and 'rater' meet in fewer than 5 rows"
    assert [text for text in warned_of(found, path) if said in text]
    assert warned_of(found, path, min_cell=int(met.min())) == []
    counts = from_data("y ~ z + (1 | g) + (1 | rater)", DATA)  # of which the pairs are counts alone
    assert warned_of(counts, path) == []
    for formula, options in (
        ("y ~ z + (0 + z | g) + (1 | rater)", {}),
        ("y ~ z + (z | g) + (1 | rater)", {"weights": "w"}),
    ):
        (text,) = warned_of(from_data(formula, DATA, **options), path)
        assert "'g' and 'rater' meet can't be told" in text
    nested = from_data("y ~ z + (z | rater/room)", DATA, weights="w")
    sizes = DATA.groupby(["rater", "room"]).size()
    said = f"{int((sizes < 12).sum())} of {len(sizes)} pairs of groups of 'room:rater' and 'rater'"
    assert [text for text in warned_of(nested, path, min_cell=12) if said in text]


def test_groups_that_can_be_taken_away_give_more_away(tmp_path):
    found = of("slopes", DATA[:40], keep_groups=True)
    known = int((DATA[:40]["g"].value_counts() <= 7).sum())
    assert f"{known} of them not more than its 7 columns" in warned_of(found, tmp_path / "s")[0]


# -- misuse ----------------------------------------------------------------------------------


def test_statistics_are_made_from_data():
    with pytest.raises(TypeError, match="from_data"):
        SufficientStatistics()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"weights": np.ones(N)}, ("weights", "name of a column")),
        ({"offset": 3.0}, ("offset", "name of a column")),
        ({"missing": "ignore"}, ("missing", "'ignore'")),
        ({"keep_groups": "yes"}, ("keep_groups",)),
        ({"n_threads": 0}, ("n_threads",)),
        ({"contrasts": "sum"}, ("contrasts are a dict",)),
        ({"levels": ["a"]}, ("levels are a dict",)),
    ],
)
def test_arguments_of_from_data(options, parts):
    with says(bl.OptionError, *parts):
        made("y ~ arm + (1 | g)", **options)


def test_arguments_of_methods(tmp_path):
    found = of("slopes")
    for wrong in (3, None, "statistics", DATA, found.fit()):
        with pytest.raises(TypeError):
            found + wrong
        with pytest.raises(TypeError):
            wrong + found if not isinstance(wrong, pd.DataFrame) else found + 1
    with pytest.raises(TypeError):
        sum([found, 3])
    with says(bl.OptionError, "n_threads"):
        found.update(DATA, n_threads=0)
    with says(bl.OptionError, "min_cell"):
        found.save(tmp_path / "s", min_cell=-1)
    with says(bl.OptionError, "rank_deficient"):
        found.fit(rank_deficient="keep")
    with says(bl.OptionError, "theta is a vector of 3"):
        found.fit(start=[1.0])
    for data in (3, None, [1, 2]):
        with says(bl.DataError, "is no table"):
            found.update(data)
    with pytest.raises(bl.FormulaError):
        made("y ~ z + (1 |")
    with says(bl.DataError, "no column 'zz'"):
        made("y ~ zz + (1 | g)")
    assert of("slopes").fit(options=bl.FitOptions(n_threads=2)).converged


def test_models_that_can_not_be_fitted():
    constant = made("y ~ z + (1 | g)", DATA.assign(y=2.0))
    with says(bl.DataError, "constant"):
        constant.fit()
    with says(bl.DataError, "too few"):
        made("y ~ z * arm", DATA[:4]).fit()
    twice = made("y ~ z + I(2 * z) + (1 | g)")
    with says(bl.RankDeficientError, "I(2 * z)"):
        twice.fit(rank_deficient="error")
    assert_same(twice.fit(), bl.lmer("y ~ z + I(2 * z) + (1 | g)", DATA))
    assert LEVELS["room"] == sorted(DATA["room"].unique().tolist())
