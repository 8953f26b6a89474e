"""The benchmark runs, pairs its rounds and names its figures."""

from train_helpers import FAST, network

from nas.train.bench import Throughput, train_throughput


def test_figures_of_every_network():
    seen = []
    results = train_throughput(
        {"small": lambda: network(1, 2), "smaller": lambda: network(1, 1)}, FAST, channels=1, resolution=8, images=64,
        batch_size=16, rounds=2, on_result=lambda name, throughput: seen.append(name))
    assert list(results) == seen == ["small", "smaller"]
    assert all(value > 0 for value in results["small"].figures("small").values())


def test_ratios_pair_the_rounds():
    throughput = Throughput(ours=(10.0, 30.0, 12.0), plain=(5.0, 10.0, 12.0))
    assert throughput.ratios == (2.0, 3.0, 1.0)
    assert throughput.figures("net") == {
        "net.images_per_second": 12.0, "net.plain_images_per_second": 10.0, "net.ratio": 2.0, "net.ratio_low": 1.0,
        "net.ratio_high": 3.0}
