"""The benchmarks of pooling and fc layers on tiny inputs: what does not depend on the clock."""

from __future__ import annotations

import numpy as np
import pytest

from sppcli.bench import fc, pool
from sppcli.bench.measure import Machine
from sppcli.features import pooling

MACHINE = Machine(1, {"fp32": 1e9}, 1e9)


def test_pooling() -> None:
    rows = pool.rows(MACHINE, windows=20, channels=3, size=(60, 80), scales=(64, 96), repeat=1)
    assert [row.peer for row in rows] == ["roi_pool", "write float32", "roi_pool", "write float16"]
    # 4 x 5 and 6 x 8 cells of 3 float16 numbers, and 20 windows of 50 bins.
    read = 2 * 3 * (4 * 5 + 6 * 8)
    for row, size in zip(rows, (4, 4, 2, 2), strict=True):
        assert row.floor == pytest.approx((20 * 50 * 3 * size + read) / 1e9)
        assert row.seconds > 0
        assert row.peer_seconds
    assert rows[0].seconds == rows[1].seconds


def test_a_result_that_differs_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: object) -> np.ndarray:
        out = pooling.pool_windows(*arguments)  # type: ignore[arg-type]
        out[0, 0] += 1
        return out

    monkeypatch.setattr(pool, "pool_windows", wrong)
    with pytest.raises(AssertionError, match="differ"):
        pool.rows(MACHINE, windows=5, channels=2, size=(60, 80), scales=(64,), repeat=1)


@pytest.mark.parametrize("has_bf16", [False, True])
def test_fc(has_bf16: bool) -> None:
    machine = Machine(1, {"fp32": 1e9, **({"bf16": 2e9} if has_bf16 else {})}, 1e9)
    rows = fc.rows(machine, windows=12, channels=2, units=(16, 8), ranks=(4, 3))
    plain, small = 100 * 16 + 16 * 8, 4 * (100 + 16) + 3 * (16 + 8)
    expected = [plain / 1e9, small / 1e9] + ([plain / 2e9, small / 2e9] if has_bf16 else [])
    assert [row.floor for row in rows] == pytest.approx([12 * value for value in expected])
    assert [row.peer for row in rows] == ["", *["fp32"] * (len(rows) - 1)]
    assert rows[1].peer_seconds == rows[0].seconds
    assert "12 regions, 100 -> 16 -> 8, fp32, --svd 4,3" in rows[1].what
