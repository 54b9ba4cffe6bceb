"""The reference results as Python objects."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parent


def names(folder):
    return sorted(path.stem for path in (ROOT / folder).glob("*.json"))


def read(folder, name):
    return json.loads((ROOT / folder / f"{name}.json").read_text())


def frame(name):
    """A data set with its factors as categoricals in R's order of levels."""
    columns = read("data", name)["columns"]
    factors = {c["name"]: c["levels"] for c in columns if c["type"] == "factor"}
    (path,) = (ROOT / "data").glob(f"{name}.csv*")
    text = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=["NA"])
    data = {}
    for column in text:
        if column in factors:
            data[column] = pd.Categorical(text[column], categories=factors[column])
        else:  # float() rounds correctly; the reader's own parser may be off in the last digit
            data[column] = [float("nan" if pd.isna(cell) else cell) for cell in text[column]]
    return pd.DataFrame(data)
