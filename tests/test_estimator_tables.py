"""Estimators on tables: labels, cleaning, text, rows that training did not foresee, any table."""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnrec
from nnrec.data import Cleaning, DropDuplicates, Features, Fill, Table, TfIdf
from nnrec.nn import Adam
from tests.test_estimators import classifier, regressor, shop


def test_label_may_be_a_column_and_is_no_feature() -> None:
    table, y = shop()
    whole = table.with_columns({"bought": y})
    fitted = classifier().fit(whole, "bought")
    expected = classifier().fit(table, y)
    np.testing.assert_array_equal(fitted.predict_proba(whole), expected.predict_proba(table))
    assert fitted.feature_names_in_.tolist() == table.names and fitted.n_features_in_ == 3
    assert fitted.score(whole, "bought") == fitted.score(table, y)
    assert fitted.classes_.tolist() == ["no", "yes"]
    with pytest.warns(UserWarning, match="column 'bought' equals y in every row"):
        classifier().fit(whole, y)
    with pytest.raises(ValueError, match="no column 'Bought'; the table has 'pages', 'month'"):
        classifier().fit(whole, "Bought")


def test_serving_a_row_that_training_did_not_foresee() -> None:
    table, y = shop()
    fitted = classifier().fit(table, y)
    row = {"pages": [5], "month": ["Nov"], "price": [3.0]}
    p = fitted.predict_proba(row)
    turned = {"price": [3.0], "colour": ["red"], "month": ["Nov"], "pages": ["5"]}
    np.testing.assert_array_equal(fitted.predict_proba(turned), p)
    unseen = fitted.predict_proba({**row, "month": ["Smarch"]})
    np.testing.assert_array_equal(unseen, fitted.predict_proba({**row, "month": [None]}))
    assert (unseen != p).any()
    assert np.isfinite(fitted.predict_proba({**row, "pages": [None], "price": [None]})).all()
    with pytest.raises(ValueError, match="lacks 'price'; it has month, pages"):
        fitted.predict({"month": ["Nov"], "pages": [5]})
    with pytest.raises(ValueError, match="'pages', row 0: found 'many', expected a number"):
        fitted.predict({**row, "pages": ["many"]})
    assert fitted.predict(table.take([])).shape == (0,)
    with pytest.raises(ValueError, match="X is an array; .* was fitted on a table"):
        fitted.predict(np.zeros((1, 3)))


def test_cleaning_drops_rows_in_training_only() -> None:
    table, y = shop(60)
    table, y = table.take(np.arange(120) % 60), np.resize(y, 120)
    y[60:90] = np.where(y[:30] == "yes", "no", "yes")  # equal rows of unequal labels stay
    cleaning = Cleaning([DropDuplicates(), Fill()])
    fitted = classifier(cleaning=cleaning).fit(table, y)
    report = fitted.cleaning_report_
    assert (report.rows_before, report.rows_after) == (120, 90)
    clean, _ = Cleaning([Fill()]).fit_transform(table.take(slice(90)))
    expected = classifier().fit(clean, y[:90])
    np.testing.assert_array_equal(fitted.networks_[0].theta, expected.networks_[0].theta)
    assert fitted.predict(table).shape == (120,)
    assert not hasattr(cleaning, "fitted"), "the description that was given stays unfitted"
    weight = np.arange(1.0, 121)
    fitted = classifier(cleaning=cleaning).fit(table, y, weight)
    expected = classifier().fit(clean, y[:90], weight[:90])
    np.testing.assert_array_equal(fitted.networks_[0].theta, expected.networks_[0].theta)


def test_a_table_to_be_predicted_may_hold_any_label_or_none() -> None:
    table, y = shop(60)
    fitted = classifier(cleaning=Cleaning([Fill()])).fit(
        table.with_columns({"bought": y}), "bought"
    )
    p = fitted.predict_proba(table)
    for column in ({"bought": [None] * 60}, {"bought": np.arange(60)}, {"bought": y}):
        np.testing.assert_array_equal(fitted.predict_proba(table.with_columns(column)), p)
    fitted = classifier(cleaning=Cleaning([Fill()])).fit(table, y == y[0])
    text = np.full(60, "why", object)
    found = fitted.predict_proba(table.with_columns({"y": text}))
    np.testing.assert_array_equal(found, fitted.predict_proba(table))


def test_cleaning_never_changes_the_label() -> None:
    table, _ = shop(60)
    y = np.where(np.arange(60) == 7, 1e6, np.arange(60.0))
    from nnrec.data import Clip

    cleaning = Cleaning([Clip(iqr=1.5)], label="price")
    fitted = regressor(cleaning=cleaning).fit(table.without("price"), y)
    assert fitted.y_center_ == y.mean()
    whole = table.with_columns({"price": y})
    again = regressor(cleaning=cleaning).fit(whole, y)
    assert again.feature_names_in_.tolist() == ["pages", "month"]
    np.testing.assert_array_equal(again.networks_[0].theta, fitted.networks_[0].theta)


def test_cleaning_finds_a_name_for_the_label() -> None:
    table, bought = shop(60)
    taken = table.with_columns({"y": table["pages"] + 0.5})
    fitted = classifier(cleaning=Cleaning([Fill()])).fit(taken, bought)
    assert fitted.cleaning_.label == "y'" and "y" in fitted.features_.groups
    assert fitted.predict(taken).shape == (60,)


def test_text_makes_sparse_inputs() -> None:
    texts = np.resize(np.array(["red dress", "blue hat", "red hat 很好", None], object), 40)
    y = np.resize([1, 0, 1, 0], 40)
    fitted = classifier(features=Features({"title": TfIdf()}), optimizer=Adam(0.05), epochs=20).fit(
        {"title": texts}, y
    )
    assert fitted.score({"title": texts}, y) == 1.0
    assert fitted.predict({"title": ["red shoe"]}).tolist() == [1]


@pytest.mark.slow
def test_a_hundred_thousand_categories() -> None:
    names = np.array([f"sku{i}" for i in range(100_003)], object)
    table = {"item": np.concatenate([names, names[:7]]), "n": np.arange(100_010) % 11}
    fitted = classifier(batch_size=4096, epochs=1).fit(table, np.arange(100_010) % 2)
    assert len(fitted.features_.names) < 130
    assert len(fitted.predict({"item": ["never seen"], "n": [3]})) == 1


values = {
    "number": st.one_of(st.floats(), st.none(), st.integers(-(2**70), 2**70)),
    "few": st.sampled_from([0, 1, 2]),
    "flag": st.booleans(),
    "text": st.one_of(st.text(max_size=5), st.none()),
    "date": st.one_of(st.dates(), st.none()),
    "mixed": st.one_of(st.integers(), st.text(max_size=2), st.none(), st.just({})),
    "nothing": st.none(),
}


@st.composite
def tables(draw) -> tuple[dict, list]:
    n = draw(st.integers(0, 11))
    kinds = draw(st.lists(st.sampled_from(sorted(values)), max_size=4))
    columns = {
        f"{kind} {i}": draw(st.lists(values[kind], min_size=n, max_size=n))
        for i, kind in enumerate(kinds)
    }
    labels = st.one_of(st.sampled_from(["是", "no"]), st.none())
    return columns, draw(st.lists(labels, min_size=n, max_size=n))


@settings(max_examples=150)
@given(tables())
def test_any_table_is_one_clear_error_or_one_prediction_a_row(given_rows) -> None:
    columns, y = given_rows
    try:
        fitted = classifier(epochs=1).fit(columns, y)
    except (ValueError, TypeError) as error:
        assert str(error)
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        assert Path(nnrec.__file__).parent in raised_in.parents, raised_in
        return
    p = fitted.predict_proba(columns)
    assert p.shape == (len(y), 2) and np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(fitted.predict_proba(Table(columns).take([0])), p[:1], atol=1e-12)
