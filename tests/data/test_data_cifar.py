"""The real CIFAR-10, as an archive of 60,000 JPEGs, where it lies beside the checkout."""

from __future__ import annotations

import time

import numpy as np
import pytest
from data_helpers import REAL

from nas.data import describe, load
from nas.settings import Data


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="shared/data/cifar10-jpeg.tar.xz is not beside the checkout")
def test_the_real_archive_at_16_pixels() -> None:
    data = Data(source=str(REAL), resolution=16, train=10_000)
    start = time.process_time()
    loaded = load(data)
    assert time.process_time() - start < 60  # of the processor: wall time is the neighbours'
    assert loaded.info == describe(data)
    assert loaded.info.classes == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    assert loaded.train.images.shape == (10_000, 3, 16, 16)
    assert loaded.validation.images.shape == (5_000, 3, 16, 16)
    assert loaded.test.images.shape == (10_000, 3, 16, 16)
    assert np.bincount(loaded.train.labels).tolist() == [1000] * 10
    assert np.bincount(loaded.validation.labels).tolist() == [500] * 10
    assert loaded.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.005)  # the well-known means
    assert loaded.skipped == ()
    start = time.process_time()
    load(data)
    assert time.process_time() - start < 2
