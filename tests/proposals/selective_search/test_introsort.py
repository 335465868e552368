"""Equal keys in the order in which libstdc++'s ``std::sort`` leaves them."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.proposals.selective_search.introsort import equal_items, introsort, lazy_nodes
from tests.golden_convention import golden

arrays = st.builds(
    lambda length, levels, seed: np.random.default_rng(seed).integers(0, levels, length).astype(np.float32),
    st.integers(1, 400),
    st.sampled_from([1, 2, 3, 20, 1000]),
    st.integers(0, 2**32 - 1),
)


def sort(keys: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Items 0, 1, 2 … in the order of their sorted keys."""
    ordered, items = keys.copy(), np.arange(len(keys), dtype=np.int32)
    introsort(ordered, items)
    np.testing.assert_array_equal(ordered, np.sort(keys))
    np.testing.assert_array_equal(keys[items], ordered)
    return items


def test_the_order_is_that_of_the_cpp_library() -> None:
    case = golden("introsort")
    offsets = case["offsets"]
    unstable = 0
    for start, end in itertools.pairwise(offsets):
        keys, expected = case["keys"][start:end], case["order"][start:end]
        np.testing.assert_array_equal(sort(keys), expected)
        unstable += not np.array_equal(expected, np.argsort(keys, kind="stable"))
    assert unstable > 20  # a stable sort would not do


@given(arrays)
@settings(max_examples=60, deadline=None)
def test_up_to_sixteen_keys_are_sorted_stably_and_longer_arrays_are_sorted(keys: npt.NDArray[np.float32]) -> None:
    items = sort(keys)
    if len(keys) <= 16:
        np.testing.assert_array_equal(items, np.argsort(keys, kind="stable"))


@given(arrays, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_asking_for_one_key_gives_its_items_as_sorting_all_would(keys: npt.NDArray[np.float32], random: object) -> None:
    expected = sort(keys)
    wanted = [*np.unique(keys), np.float32(-1), np.float32(2000)]
    random.shuffle(wanted)  # type: ignore[attr-defined]
    items, nodes = np.arange(len(keys), dtype=np.int32), lazy_nodes(len(keys))
    now, used = keys.copy(), 1
    for key in wanted:
        found, used = equal_items(now, items, *nodes, used, key)
        np.testing.assert_array_equal(found, expected[keys[expected] == key])


def test_asking_for_one_key_among_many_leaves_most_unsorted() -> None:
    keys = np.random.default_rng(0).random(100_000, dtype=np.float32)
    nodes = lazy_nodes(len(keys))
    found, used = equal_items(keys.copy(), np.arange(len(keys), dtype=np.int32), *nodes, 1, keys[77])
    assert 77 in found
    assert used < 100


def test_the_golden_file_reaches_the_depth_limit() -> None:
    """Its last nine arrays were made against the median of three: partition alone would be quadratic."""
    case = golden("introsort")
    keys = case["keys"][case["offsets"][-4] : case["offsets"][-3]].astype(np.float32)
    nodes = lazy_nodes(len(keys))
    items, now, used = np.arange(len(keys), dtype=np.int32), keys.copy(), 1
    for key in np.unique(keys):
        _, used = equal_items(now, items, *nodes, used, key)
    leaves = nodes[0][:used]
    longest = leaves[leaves[:, 3] == -1]
    assert (longest[:, 1] - longest[:, 0]).max() > 16  # ended by heap sort, not by insertion sort
