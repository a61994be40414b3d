"""Figures of loads are drawn from summaries, at a size that fits a page, with words for each."""

import io
from types import SimpleNamespace as Stub

import numpy as np
import pytest
from PIL import Image

from helpers import photos, stats
from helpers.client import Prediction
from helpers.clusters.load_result import Result
from helpers.lab import plots
from helpers.lab.plots.picture import Picture
from helpers.load.traffic import Flow

PAGE = 1100  # CSS pixels


def summary(*, rate: float = 100, latency_s: float = 0.02, failed: bool = False) -> stats.Summary:
    random = np.random.default_rng(0)
    records = np.zeros(int(rate * 5), stats.RECORD)
    records["due_s"] = records["sent_s"] = np.linspace(0, 4.5, len(records))
    records["done_s"] = records["due_s"] + latency_s * random.uniform(0.5, 2, len(records))
    records["code"] = 14 if failed else 0
    return stats.summarize(records, duration_s=5)


def fits(picture: Picture) -> bool:
    with Image.open(io.BytesIO(picture.content)) as image:  # a PNG, or a JPEG of a photograph
        height = image.height // 2
    return 100 < picture.width < PAGE and 50 < height < PAGE


def test_latency_against_load_fits_and_says_its_medians() -> None:
    points = {rate: summary(rate=rate, latency_s=rate / 5000) for rate in (20.0, 60.0, 100.5)}
    picture = plots.latency_against_load(points, knee_per_s=60, objective_ms=50, capacity_per_s=90)
    assert fits(picture)
    assert [f"{rate}/s" in picture.alt for rate in (20, 60, 100)] == [True] * 3


def rolled(*, lost: int, seconds: float) -> Stub:
    records = np.zeros(100, stats.RECORD)
    records["due_s"] = np.linspace(0, seconds, 100)
    records["code"][:lost] = 14
    first = Stub(began_s=1.0, ended_s=seconds, took_s=seconds / 2, lost={"plain": lost})
    return Stub(faults=[first], flows={"plain": Flow(records, {})})


def test_roll_outs_are_drawn_for_equally_long_with_what_each_client_lost() -> None:
    picture = plots.roll_outs({"a": rolled(lost=7, seconds=4), "b": rolled(lost=0, seconds=20)})
    assert fits(picture)
    assert picture.alt.endswith("with a, plain lost 7; with b, plain lost 0.")


def test_one_point_is_a_curve_too() -> None:
    point = {20.0: summary()}
    assert fits(
        plots.latency_against_load(point, knee_per_s=20, objective_ms=50, capacity_per_s=90)
    )


@pytest.mark.parametrize("all_of_them", [True, False])
def test_where_requests_were_given_up_there_is_no_latency(all_of_them: bool) -> None:
    points = {20.0: summary(failed=all_of_them), 60.0: summary(failed=True)}
    picture = plots.latency_against_load(points, knee_per_s=20, objective_ms=50, capacity_per_s=30)
    assert fits(picture)
    assert picture.alt.endswith("requests given up at " + "20/s, " * all_of_them + "60/s")


def test_a_rate_at_which_the_generator_was_late_is_marked() -> None:
    points = {rate: summary(rate=rate) for rate in (20.0, 60.0)}
    lines = {"knee_per_s": 60, "objective_ms": 50, "capacity_per_s": 90}
    picture = plots.latency_against_load(points, invalid=[60.0, 90.0], **lines)
    assert fits(picture)
    assert picture.alt.endswith("the generator was late at 60/s")
    assert "late" not in plots.latency_against_load(points, **lines).alt


def test_percentiles_of_two_measures_share_a_figure() -> None:
    both = {"honest": summary(latency_s=1), "naive": summary(latency_s=0.01)}
    picture = plots.percentiles(both, title="A stall")
    assert fits(picture)
    assert picture.alt.startswith("A stall; p99 in ms: honest ")
    slowest = summary(latency_s=1).max_ms
    assert f"the slowest request in ms: honest {slowest:,.0f}, naive " in picture.alt


@pytest.mark.parametrize("best", [(8, 0), None])
def test_a_heat_map_has_a_cell_a_setting(best: tuple[int, int] | None) -> None:
    points = {(size, us): summary(rate=10 * size) for size in (1, 8) for us in (0, 5000)}
    picture = plots.batching(points, best=best)
    assert fits(picture)
    assert picture.alt.count(" with ") == 4


def test_a_heat_map_says_where_the_requests_are_too_few_for_a_p99() -> None:
    assert fits(plots.batching({(1, 0): summary(), (1, 5000): summary(rate=2)}, best=None))


def test_a_requests_time_is_a_bar_a_load() -> None:
    parts = dict.fromkeys(("client", "network", "queue", "server", "decode", "layers"), 2.0)
    picture = plots.time_of_a_request({"1 in flight": parts, "8 in flight": parts})
    assert fits(picture)
    assert "8 in flight: client 2 ms, network 2 ms" in picture.alt


def test_a_part_of_a_requests_time_that_is_nothing_takes_no_place_in_the_picture() -> None:
    parts = {"client": 2.0, "run": 5.0, "unaccounted": 1e-15}
    assert "unaccounted" not in plots.time_of_a_request({"1 in flight": parts}).alt
    one_more = {"1": parts, "8": parts | {"unaccounted": -1.0}}
    assert "unaccounted -1 ms" in plots.time_of_a_request(one_more).alt


def test_the_picture_of_replicas_has_shares_of_each_panels_own_total() -> None:
    ways = {"one channel": (40, 0), "round robin": (300, 100)}
    results = {
        way: Result(summary(rate=31), dict(zip("ab", counts, strict=True)))
        for way, counts in ways.items()
    }
    picture = plots.requests_per_replica(results)
    assert fits(picture)
    assert picture.alt == (
        "Shares of the requests by replica. one channel, 31 images/s: 100%, 0%; "
        "round robin, 31 images/s: 75%, 25%"
    )


@pytest.mark.parametrize("cores", [2, 8])
def test_scaling_says_the_mean_of_its_rounds(cores: int) -> None:
    picture = plots.scaling({1: [30.0, 30.0], 2: [40.0, 90.0], 4: [60.0, 60.0]}, cores=cores)
    assert fits(picture)
    assert picture.alt == "Images per second by replicas: 1 30, 2 60, 4 60"


def test_the_scalability_law_is_drawn_as_far_as_it_was_measured() -> None:
    rates = {1: 100.0, 2: 180.0, 3: 200.0}
    law = stats.fit_scalability(list(rates), list(rates.values()))
    assert fits(plots.scalability(rates, law, cores=2))


def test_a_prediction_says_which_network_gave_it() -> None:
    answer = Prediction(("golden retriever", "otterhound"), (0.84, 0.01))
    picture = plots.prediction(photos.load("puppy"), answer, network="EfficientNet-Lite2")
    assert fits(picture)
    assert "EfficientNet-Lite2 says golden retriever 84.0%" in picture.alt


def test_what_was_predicted_is_drawn_and_told_beside_what_was_seen() -> None:
    picture = plots.predicted(
        {"out of traffic": (4, 5), "killed": (14, 17)},
        {"out of traffic": 4.56, "killed": 19.0},
        since="the freeze",
    )
    assert fits(picture)
    assert picture.alt == (
        "Since the freeze: out of traffic: predicted 4 to 5 s, seen after 4.6 s; "
        "killed: predicted 14 to 17 s, seen after 19.0 s"
    )


def test_the_drawing_of_kubernetes_objects_names_each_in_words_as_well() -> None:
    picture = plots.objects()
    assert fits(picture)
    names = ("Deployment", "ReplicaSet", "pods", "Service", "Namespace", "node", "kubelet")
    assert [name for name in names if name not in picture.alt] == []


def test_a_measure_whose_interval_holds_one_is_not_told_apart() -> None:
    ratios = {
        "+ folded": stats.Ratio(1.1, stats.Interval(0.9, 1.3)),
        "+ bfloat16": stats.Ratio(2.0, stats.Interval(1.8, 2.2)),
    }
    picture = plots.measures(ratios)
    assert fits(picture)
    assert picture.alt.endswith("+ folded not told apart, + bfloat16 2.00×")


def test_the_whole_in_one_drawing_fits_and_names_its_boxes() -> None:
    picture = plots.overview()
    assert fits(picture)
    named = ("client", "load balancer", "Service", "pods", "nodes", "server", "batch", "model")
    assert [word for word in named if word not in picture.alt] == []
