"""Text: terms of any language, and the same numbers as scikit-learn for the same options."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from nnrec.data.tables import Table
from nnrec.data.text import BagOfWords, TfIdf, normalized, words

TEXT = st.text(alphabet="abAB  é,7\n\t_½", max_size=23)
OPTIONS = st.fixed_dictionaries(
    {
        "ngram_range": st.sampled_from([(1, 1), (1, 2), (2, 2), (1, 3), (2, 4), (5, 5)]),
        "analyzer": st.sampled_from(["word", "char", "char_wb"]),
        "min_df": st.sampled_from([1, 2, 0.3]),
        "max_df": st.sampled_from([1.0, 0.7, 5]),
        "token_pattern": st.sampled_from([r"\w+", r"\w\w+"]),
        "lowercase": st.booleans(),
        "binary": st.booleans(),
    }
)
WEIGHTS = st.fixed_dictionaries(
    {
        "norm": st.sampled_from(["l2", None]),
        "smooth_idf": st.booleans(),
        "sublinear_tf": st.booleans(),
    }
)


def column(texts: list[str | None]) -> np.ndarray:
    return Table({"text": np.array(texts, dtype=object)}).cast({"text": "text"})["text"]


def same(ours: BagOfWords, vectorizer: CountVectorizer, train: list[str], test: list[str]) -> None:
    try:
        vectorizer.fit(train)
    except ValueError as error:  # an empty vocabulary, or bounds that cross
        assert (
            "vocabulary" in str(error) or "no terms remain" in str(error) or "max_df" in str(error)
        )
        return
    ours.fit(column(train))
    assert list(ours.vocabulary) == list(vectorizer.get_feature_names_out())
    assert ours.outputs("t") == [f"t: {term!r}" for term in ours.vocabulary]
    for texts in (train, test):
        found = ours.transform(column(texts))
        assert found.format == "csr" and found.has_sorted_indices and found.dtype == np.float64
        expected = vectorizer.transform(texts).toarray()
        np.testing.assert_allclose(found.toarray(), expected, rtol=1e-13)


@given(st.lists(TEXT, min_size=1, max_size=11), st.lists(TEXT, max_size=5), OPTIONS)
def test_counts_are_scikit_learns(train: list[str], test: list[str], options: dict) -> None:
    theirs = {key: value for key, value in options.items() if key != "lowercase"}
    vectorizer = CountVectorizer(
        preprocessor=lambda text: normalized(text, lowercase=options["lowercase"]), **theirs
    )
    # scikit-learn warns of settings that its analyzer does not use
    if options["analyzer"] != "word":
        vectorizer.set_params(token_pattern=CountVectorizer().token_pattern)
    same(BagOfWords(**options), vectorizer, train, test or [""])


@given(st.lists(TEXT, min_size=1, max_size=11), st.lists(TEXT, max_size=5), OPTIONS, WEIGHTS)
def test_tfidf_is_scikit_learns(
    train: list[str], test: list[str], options: dict, weights: dict
) -> None:
    options = options | weights | {"lowercase": True, "token_pattern": r"\w\w+"}
    theirs = {k: v for k, v in options.items() if k not in ("lowercase", "token_pattern")}
    same(TfIdf(**options), TfidfVectorizer(preprocessor=normalized, **theirs), train, test or [""])


def test_most_frequent_terms_and_of_equal_ones_the_first() -> None:
    texts = ["c c c b", "b a d", "a d"]
    bag = BagOfWords(max_features=3).fit(column(texts))
    assert list(bag.vocabulary) == ["a", "b", "c"]
    vectorizer = CountVectorizer(max_features=3, token_pattern=r"\w+").fit(["c c c b b", "a a d b"])
    bag.fit(column(["c c c b b", "a a d b"]))
    assert list(bag.vocabulary) == list(vectorizer.get_feature_names_out())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("这件衣服很好", ["这件", "件衣", "衣服", "服很", "很好"]),
        ("好", ["好"]),
        ("コーヒーを飲む", ["コー", "ーヒ", "ヒー", "ーを", "を飲", "飲む"]),
        ("人々・東京", ["人々", "東京"]),
        ("한국어 좋아요", ["한국", "국어", "좋아", "아요"]),
        ("iPhone15手机壳case", ["iPhone15", "手机", "机壳", "case"]),
        ("naïve Größe 8", ["naïve", "Größe", "8"]),
        ("𠮷野家", ["𠮷野", "野家"]),
        ("", []),
        ("🙂 ,.", []),
    ],
)
def test_words_of_any_language(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_forms_of_one_letter_are_one_letter() -> None:
    bag = BagOfWords()
    assert bag.terms("ＵＳＢ") == bag.terms("usb")
    assert bag.terms("e\u0301te\u0301") == bag.terms("été")
    assert bag.terms("ﾊﾞｯｸﾞ") == bag.terms("バッグ")  # half-width kana
    assert bag.terms("\u1112\u1161\u11ab\u1100\u116e\u11a8") == bag.terms("한국")  # single letters


def test_a_missing_text_is_an_empty_one_and_a_row_of_zeros() -> None:
    tfidf = TfIdf().fit(column(["red dress", None, ""]))
    found = tfidf.transform(column([None, "", "unseen", "red"])).toarray()
    assert found.tolist() == [[0, 0], [0, 0], [0, 0], [0, 1]]
    assert BagOfWords().fit(column([None, None])).transform(column(["a"])).shape == (1, 0)
    assert tfidf.transform(column([])).shape == (0, 2)


def test_fit_again_forgets() -> None:
    bag = BagOfWords().fit(column(["red", "blue"])).fit(column(["green"]))
    assert bag.vocabulary == {"green": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"analyzer": "words"}, "analyzer='words': expected one of"),
        ({"ngram_range": (2, 1)}, r"ngram_range=\(2, 1\): expected 1 ≤ fewest ≤ most"),
        ({"ngram_range": (0, 1)}, "expected 1 ≤ fewest ≤ most"),
        ({"ngram_range": (1,)}, "expected 1 ≤ fewest ≤ most"),
        ({"min_df": 1.5}, "min_df=1.5: expected a number of texts, or a share"),
        ({"max_df": -1}, "max_df=-1: expected a number of texts, or a share"),
        ({"norm": "l1"}, "norm='l1': expected 'l2' or None"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TfIdf(**arguments)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="found 3 in row 1; expected text"):
        BagOfWords().fit(np.array(["a", 3], dtype=object))


def test_settings_show() -> None:
    assert repr(TfIdf(ngram_range=[1, 2], sublinear_tf=True)) == (
        "TfIdf(ngram_range=(1, 2), sublinear_tf=True)"
    )


@pytest.mark.data
@pytest.mark.slow
def test_reviews_are_scikit_learns(nnrec_data) -> None:
    table = Table.read(nnrec_data / "womens_clothing" / "womens_clothing_reviews.csv.gz")
    texts = [text or "" for text in table["Review Text"][:3001]]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, preprocessor=normalized)
    ours = TfIdf(ngram_range=(1, 2), min_df=2, token_pattern=r"\w\w+").fit(column(texts))
    assert abs(ours.transform(column(texts)) - vectorizer.fit_transform(texts)).max() < 1e-14
    assert list(ours.vocabulary) == list(vectorizer.get_feature_names_out())
