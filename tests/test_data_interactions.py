"""Interactions: any ids, their maps, merging, cores; splits without leaks; publishers' files."""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nnrec import storage
from nnrec.data.formats import read_lists, read_movielens, read_ncf
from nnrec.data.holdouts import (
    Holdout,
    fraction_per_user,
    global_time,
    held_out_users,
    leave_one_out,
)
from nnrec.data.interactions import Ids, Interactions, align, concatenate
from nnrec.data.tables import Table

EVENTS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(-3, 3), st.integers(0, 5)),
    max_size=41,
)


def log_of(events: list[tuple[int, int, int, int]]) -> Interactions:
    users, items, values, times = zip(*events) if events else ([], [], [], [])
    return Interactions.from_columns(
        [f"u{u}" for u in users], [("item", i) for i in items], np.array(values, float), times
    )


def pairs_of(log: Interactions) -> list[tuple[object, object]]:
    return list(zip(log.users[log.user_index], log.items[log.item_index]))


@pytest.mark.parametrize(
    "ids",
    [
        ["b", "a", "b"],
        [7, "7", 7],
        [("a", 1), frozenset({"a"}), ("a", 1)],
        np.array([5, 3, 5], np.uint8),
        np.array(["寿司", "é", "寿司"]),
        np.array([5.0, 2.5, 5.0]),
        [b"x", 2**70, b"x"],
    ],
)
def test_ids_are_numbered_by_first_appearance(ids) -> None:
    log = Interactions.from_columns(ids, ids)
    assert log.user_index.tolist() == log.item_index.tolist() == [0, 1, 0]
    assert log.users.ids == list(dict.fromkeys(list(ids)))
    assert log.users.index([*log.users, "unknown"]).tolist() == [0, 1, -1]
    assert ids[0] in log.users and "unknown" not in log.users


def test_ids_of_arrays_are_python_values_and_equal_as_python_says() -> None:
    assert type(Interactions.from_columns(np.arange(2), np.arange(2)).users[1]) is int
    assert Ids([1, "1"]).index([1.0, True, "1"]).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.float64("nan"), np.datetime64("NaT")], ids=str
)
def test_missing_id_is_an_error_with_its_row(missing) -> None:
    if isinstance(missing, np.datetime64):
        ids = np.array(["2024-01-01", "2024-01-02", missing], "M8[s]")
    else:
        ids = ["a", "b", missing, "a"]
    with pytest.raises(ValueError, match="users: a missing id in row 2"):
        Interactions.from_columns(ids, range(len(ids)))
    with pytest.raises(ValueError, match="items: a missing id in row 2"):
        Interactions.from_columns(range(len(ids)), ids)


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"users": [[1]], "items": [2]}, (TypeError, "users: unhashable")),
        ({"users": "ab", "items": [1, 2]}, (TypeError, "users: found 'ab', expected a column")),
        ({"users": np.ones((2, 3)), "items": [2]}, (ValueError, r"users: .*\(2, 3\)")),
        ({"users": [1, 2], "items": [2]}, (ValueError, "item_index: shape .1,. for 2 users")),
        ({"users": [1], "items": [2], "values": [np.nan]}, (ValueError, "values: found nan")),
        ({"users": [1], "items": [2], "values": [np.inf]}, (ValueError, "found inf in row 0")),
        ({"users": [1], "items": [2], "values": ["x"]}, (TypeError, "values: found 'x' in row 0")),
        ({"users": [1], "items": [2], "values": [3, 4]}, (ValueError, "values: shape")),
        ({"users": [1], "items": [2], "times": ["noon"]}, (TypeError, "times: .* or times")),
        ({"users": [1, 1], "items": [2, 3], "times": [1, None]}, (ValueError, "times: .* row 1")),
    ],
)
def test_bad_columns_are_one_clear_error(columns, error) -> None:
    with pytest.raises(error[0], match=error[1]):
        Interactions.from_columns(**columns)


def test_constructor_checks_indices() -> None:
    ids = Ids(["a", "b"])
    with pytest.raises(ValueError, match=r"item_index: 0 … 2 for 2 ids"):
        Interactions(ids, ids, np.zeros(2, np.int64), np.array([0, 2]))
    with pytest.raises(TypeError, match="user_index: float64"):
        Interactions(ids, ids, np.zeros(2), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="'a' stands twice, again at 2"):
        Ids(["a", "b", "a"])


def test_empty_one_user_and_one_item() -> None:
    empty = Interactions.from_columns([], [])
    assert (len(empty), empty.n_users, empty.csr().shape) == (0, 0, (0, 0))
    assert str(empty) == "0 events of 0 users and 0 items, 0 different pairs (0 %)"
    assert len(empty.core(per_user=3)) == len(empty.merged()) == 0
    wider = empty.including(users=["a"], items=[5, 7])
    assert wider.csr().toarray().tolist() == [[0, 0]]
    assert [len(part) for part in wider.by_user()] == [2, 0]
    one = Interactions.from_columns(["a"], ["b"])
    assert one.csr().toarray().tolist() == [[1]]


@given(EVENTS)
def test_csr_holds_presence_counts_and_sums(events) -> None:
    log = log_of(events)
    for weights, cells in (
        ("binary", {(f"u{u}", ("item", i)): 1 for u, i, _, _ in events}),
        ("count", Counter((f"u{u}", ("item", i)) for u, i, _, _ in events)),
    ):
        matrix = log.csr(weights)
        assert matrix.shape == (log.n_users, log.n_items) and matrix.dtype == np.float32
        assert matrix.has_canonical_format and matrix.nnz == len(cells)
        dense = matrix.toarray()
        for (user, item), value in cells.items():
            assert dense[log.users.index([user])[0], log.items.index([item])[0]] == value
    sums = log.csr("values").toarray()
    loop = np.zeros_like(sums)
    for u, i, value in zip(log.user_index, log.item_index, log.values):
        loop[u, i] += value
    assert np.array_equal(sums, loop)


@given(EVENTS)
def test_merging_agrees_with_a_loop(events) -> None:
    log = log_of(events)
    own = defaultdict(list)
    for event, pair in enumerate(pairs_of(log)):
        own[pair].append((log.times[event], event, log.values[event]))
    for keep, value in (
        ("sum", lambda found: sum(v for *_, v in found)),
        ("max", lambda found: max(v for *_, v in found)),
        ("last", lambda found: max(found)[2]),
        ("first", lambda found: min(found)[2]),
    ):
        merged = log.merged(keep)
        assert pairs_of(merged) == list(own)
        assert merged.values.tolist() == [value(found) for found in own.values()]
        which = min if keep == "first" else max
        assert merged.times.tolist() == [which(found)[0] for found in own.values()]
    counts = Interactions(log.users, log.items, log.user_index, log.item_index).merged()
    assert counts.values.tolist() == [len(found) for found in own.values()]
    assert (
        log.merged("first").merged("first").values.tolist() == log.merged("first").values.tolist()
    )


@given(EVENTS, st.integers(1, 3), st.integers(1, 3))
def test_core_is_the_largest_that_holds(events, per_user: int, per_item: int) -> None:
    log = log_of(events)
    alive = set(pairs_of(log))
    while True:
        users, items = Counter(u for u, _ in alive), Counter(i for _, i in alive)
        left = {(u, i) for u, i in alive if users[u] >= per_user and items[i] >= per_item}
        if left == alive:
            break
        alive = left
    core = log.core(per_user=per_user, per_item=per_item)
    assert pairs_of(core) == [pair for pair in pairs_of(log) if pair in alive]
    assert core.users.ids == [user for user in log.users if user in {u for u, _ in alive}]
    assert core.items.ids == [item for item in log.items if item in {i for _, i in alive}]


@given(EVENTS)
def test_histories_are_in_time(events) -> None:
    log = log_of(events)
    starts, order = log.by_user()
    assert sorted(order.tolist()) == list(range(len(log)))
    for user in range(log.n_users):
        mine = order[starts[user] : starts[user + 1]]
        assert (log.user_index[mine] == user).all()
        keys = list(zip(log.times[mine], mine))
        assert keys == sorted(keys)


def test_table_file_and_times(tmp_path: Path) -> None:
    text = "who,what,stars,day\nzoë,7,3,2024-02-01\nzoë,8,5,2024-01-31\n"
    (tmp_path / "log.csv").write_text(text, encoding="utf-8")
    names = {"user": "who", "item": "what", "value": "stars", "time": "day"}
    log = Interactions.read(tmp_path / "log.csv", **names)
    assert pairs_of(log) == [("zoë", 7), ("zoë", 8)]
    assert log.values.tolist() == [3, 5]
    assert log.times[0] == np.datetime64("2024-02-01") and log.times.dtype == "M8[us]"
    swapped = Interactions.read(tmp_path / "log.csv", user="what", item="who")
    assert pairs_of(swapped) == [(7, "zoë"), (8, "zoë")] and swapped.values is None
    table = Table({"who": ["a", None], "what": [1, 2]})
    with pytest.raises(ValueError, match="users: a missing id in row 1"):
        Interactions.from_table(table, user="who", item="what")
    with pytest.raises(ValueError, match="no column 'user'"):
        Interactions.from_table(table, user="user", item="what")


@pytest.mark.oracle
def test_frames_are_columns_too() -> None:
    reason = "compares with the extra `oracles`"
    for library in ("pandas", "polars"):
        frames = pytest.importorskip(library, reason=reason)
        frame = frames.DataFrame({"u": ["a", "b", "a"], "i": [3, 3, 4]})
        log = Interactions.from_table(frame, user="u", item="i")
        assert pairs_of(log) == pairs_of(Interactions.from_columns(frame["u"], frame["i"]))
        assert pairs_of(log) == [("a", 3), ("b", 3), ("a", 4)]
    arrow = pytest.importorskip("pyarrow", reason=reason)
    assert Interactions.from_columns(arrow.array(["x", "y"]), [1, 2]).users.ids == ["x", "y"]


def test_id_map_survives_filing() -> None:
    users = ["a", 7, ("b", 2), 2.5]
    log = Interactions.from_columns(users, [3, 3, 4, 5], times=np.array([1, 2, 3, 4], "M8[D]"))
    classes = {"Interactions": Interactions, "Ids": Ids}
    back = storage.unpack(*storage.pack(log, classes), classes)
    assert back.users == log.users and back.items == log.items
    assert [type(id) for id in back.users] == [str, int, tuple, float]
    assert np.array_equal(back.times, log.times) and back.values is None
    assert np.array_equal(back.user_index, log.user_index)


@given(EVENTS, EVENTS)
def test_aligned_logs_share_their_maps(first, second) -> None:
    logs = log_of(first), log_of(second)
    one, two = align(*logs)
    assert one.users is two.users and one.items is two.items
    assert [pairs_of(one), pairs_of(two)] == [pairs_of(log) for log in logs]
    assert one.users.ids[: logs[0].n_users] == logs[0].users.ids
    both = concatenate(*logs)
    assert pairs_of(both) == pairs_of(one) + pairs_of(two)
    assert both.values.tolist() == [*one.values, *two.values]


def test_logs_that_do_not_go_together() -> None:
    plain = Interactions.from_columns(["a"], ["b"])
    valued = Interactions.from_columns(["a"], ["b"], values=[3])
    with pytest.raises(ValueError, match="values stand in some of the logs only"):
        concatenate(plain, valued)
    numbers, dates = (
        Interactions.from_columns(["a"], ["b"], times=times)
        for times in ([3], [datetime(2024, 1, 2)])
    )
    with pytest.raises(ValueError, match="times are numbers in one log and datetime64 in another"):
        concatenate(numbers, dates)


SPLITS = {
    "last": leave_one_out,
    "any": lambda log: leave_one_out(log, by="random", rng=3),
    "fraction": lambda log: fraction_per_user(log, 0.4, rng=3),
    "latest fraction": lambda log: fraction_per_user(log, 0.4, by="time"),
    "time": lambda log: global_time(log, 0.3),
    "users": lambda log: held_out_users(log, 0.5, test_share=0.4, rng=3),
}


@pytest.mark.parametrize("name", SPLITS)
@given(events=EVENTS.filter(lambda events: len(events) > 1))
def test_no_test_pair_is_in_train(name: str, events) -> None:
    log = log_of(events)
    found: Holdout = SPLITS[name](log)
    parts = [found.train, found.test] + ([found.fold_in] if found.fold_in else [])
    seen = [set(pairs_of(part)) for part in parts]
    assert all(not a & b for k, a in enumerate(seen) for b in seen[:k])
    assert sum(map(len, parts)) + found.left_out == len(log)
    assert all(part.users is log.users and part.items is log.items for part in parts)
    again = SPLITS[name](log)
    assert all(np.array_equal(a.pairs(), b.pairs()) for a, b in zip(again[:2], found[:2]))


@given(EVENTS)
def test_one_pair_of_each_user_is_left_out(events) -> None:
    log = log_of(events)
    for by in ("time", "random"):
        train, test, *_ = leave_one_out(log, by=by, rng=5)
        kept, tested = set(pairs_of(train)), set(pairs_of(test))
        of_user = Counter(user for user, _ in set(pairs_of(log)))
        assert Counter(u for u, _ in tested) == {u: 1 for u, k in of_user.items() if k > 1}
        assert kept | tested == set(pairs_of(log))
    begins = {}
    for event, pair in enumerate(pairs_of(log)):
        begins[pair] = min(begins.get(pair, (9, 0)), (log.times[event], event))
    test = leave_one_out(log).test
    for user, item in pairs_of(test):
        assert begins[user, item] == max(when for (u, _), when in begins.items() if u == user)


@given(EVENTS, st.floats(0.05, 0.95))
@example([(0, 0, 0, 0), (0, 1, 0, 0), (0, 2, 0, 0)], 0.9)
def test_fraction_of_each_user(events, share: float) -> None:
    log = log_of(events)
    of_user = Counter(user for user, _ in set(pairs_of(log)))
    tested = Counter(u for u, _ in set(pairs_of(fraction_per_user(log, share).test)))
    assert tested == +Counter({u: min(round(share * k), k - 1) for u, k in of_user.items()})


def test_global_time_keeps_moments_together() -> None:
    log = Interactions.from_columns([1, 2, 3, 1, 1], list("abcda"), times=[5, 3, 3, 4, 6])
    train, test, _, left_out = global_time(log, 0.4)
    assert (train.times.max(), sorted(test.times)) == (4, [5, 6]) and left_out == 0
    train, test, _, left_out = global_time(log, at=6)
    assert (len(train), len(test), left_out) == (4, 0, 1)  # (1, "a") is known at 5
    with pytest.raises(ValueError, match="have no times"):
        global_time(Interactions.from_columns([1, 2], [3, 4]))
    with pytest.raises(ValueError, match="1 events are too few"):
        global_time(Interactions.from_columns([1], [3], times=[2]))


def test_held_out_users_train_nothing() -> None:
    rng = np.random.default_rng(0)
    log = Interactions.from_columns(rng.integers(29, size=997), rng.integers(53, size=997))
    train, test, fold_in, _ = held_out_users(log, 0.3, rng=1)
    held = set(test.user_index)
    assert len(held) == round(0.3 * 29) and held == set(fold_in.user_index)
    assert not held & set(train.user_index)
    assert len(held | set(train.user_index)) == 29
    other = held_out_users(log, 0.3, rng=2)
    assert set(other.test.user_index) != held


@pytest.mark.parametrize("share", [0, 1, -0.2, float("nan")])
def test_shares_are_between_0_and_1(share: float) -> None:
    log = Interactions.from_columns([1, 1], [2, 3], times=[1, 2])
    for split in (fraction_per_user, global_time, held_out_users):
        with pytest.raises(ValueError, match="expected one between 0 and 1"):
            split(log, share)
    with pytest.raises(ValueError, match="by='place': expected 'time' or 'random'"):
        leave_one_out(log, by="place")


def test_movielens_files(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("3\t7\t4\t86400\n5\t7\t1\t0\n")
    (tmp_path / "ratings.dat.gz").write_bytes(gzip.compress(b"3::7::4::86400\n5::7::1::0\n"))
    for name in ("u.data", "ratings.dat.gz"):
        log = read_movielens(tmp_path / name)
        assert pairs_of(log) == [(3, 7), (5, 7)] and log.values.tolist() == [4, 1]
        assert log.times.tolist() == [datetime(1970, 1, 2), datetime(1970, 1, 1)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1\t2\t3\t4\n\n1\t2\t3\n", "line 3: found '1\\\\t2\\\\t3'"),
        ("1\t2\t3\t4\n1\tx\t3\t4\n", "line 2: found"),
        ("1.5\t2\t3\t4\n", "line 1: found"),
        ("1\t2\tnan\t4\n", "line 1: found"),
        ("1\tinf\t2\t4\n", "line 1: found"),
        ("1 2 3\n", "line 1: found '1 2 3', expected 4 numbers"),
        ("", "found no line, expected lines of 4 numbers"),
    ],
)
def test_errors_of_a_file_name_the_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "u.data").write_text(text)
    with pytest.raises(ValueError, match=f"u.data(: |, ){line}"):
        read_movielens(tmp_path / "u.data")


def test_lists_and_a_broken_gzip(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 5 6\n1\n2 6\n7\n")
    (tmp_path / "test.txt").write_text("1 5 9\n")
    train, test = read_lists(tmp_path / "train.txt", tmp_path / "test.txt")
    assert pairs_of(train) == [(0, 5), (0, 6), (2, 6)] and pairs_of(test) == [(1, 5), (1, 9)]
    assert sorted(train.users) == [0, 1, 2, 7] and train.items.ids == [5, 6, 9]
    (tmp_path / "bad.txt").write_text("0 5\n1 five\n")
    with pytest.raises(ValueError, match="bad.txt, line 2: found '1 five', expected whole numbers"):
        read_lists(tmp_path / "bad.txt")
    (tmp_path / "bad.txt.gz").write_bytes(gzip.compress(b"0 5\n" * 99)[:-9])
    with pytest.raises(ValueError, match=r"bad.txt.gz: "):
        read_lists(tmp_path / "bad.txt.gz")


def ncf_files(folder: Path, negatives: str) -> list[Path]:
    (folder / "train").write_text("0\t5\t3\t1\n1\t6\t4\t2\n")
    (folder / "test").write_text("0\t6\t3\t9\n1\t5\t4\t8\n")
    (folder / "negative").write_text(negatives)
    return [folder / name for name in ("train", "test", "negative")]


def test_ncf_files_and_their_duplicates(tmp_path: Path) -> None:
    split = read_ncf(*ncf_files(tmp_path, "(0,6)\t7\t6\n(1,5)\t8\t9\n"))
    assert split.duplicates == 1
    assert pairs_of(split.train) == [(0, 5), (1, 6)] and pairs_of(split.test) == [(0, 6), (1, 5)]
    asked = [
        (split.train.users[u], split.train.items[i]) for u, i in zip(*split.candidates.nonzero())
    ]
    assert sorted(asked) == [(0, 7), (1, 8), (1, 9)]
    with pytest.raises(ValueError, match="negative: the pairs in brackets are not those of .*test"):
        read_ncf(*ncf_files(tmp_path, "(0,5)\t7\n(1,5)\t8\n"))
    with pytest.raises(ValueError, match="negative, line 2: found '1,5"):
        read_ncf(*ncf_files(tmp_path, "(0,6)\t7\n1,5,6\t8\n"))


@pytest.mark.data
@pytest.mark.slow
def test_published_files_have_their_published_sizes(nnrec_data: Path) -> None:
    folder = nnrec_data / "ncf-ml-1m"
    split = read_ncf(
        folder / "ml-1m.train.pairs.gz",
        folder / "ml-1m.test.rating",
        folder / "ml-1m.test.negative.gz",
    )
    assert (len(split.train), len(split.test), split.duplicates) == (994_169, 6_040, 156)
    assert (split.train.n_users, split.train.n_items) == (6_040, 3_706)
    assert split.candidates.nnz == 6_040 * 99 - 156
    train, test = read_lists(
        *(nnrec_data / "ml-1m_m1" / f"{part}.txt.gz" for part in ("train", "test"))
    )
    assert (len(train), len(test), train.n_users, train.n_items) == (796_244, 99_455, 6_022, 3_043)
    ratings = read_movielens(nnrec_data / "ml-100k" / "u.data")
    assert (len(ratings), ratings.n_users, ratings.n_items) == (100_000, 943, 1_682)
    assert set(ratings.values) == {1, 2, 3, 4, 5} and str(ratings.times.max())[:7] == "1998-04"
