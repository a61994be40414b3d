"""What a million images cost, what that is based on, and how many machines a load needs."""

from datetime import date
from pathlib import Path

import pytest

from helpers.errors import SetupError
from helpers.machine.processor import BFLOAT16_CLASSES
from helpers.planning import capacity
from helpers.planning.capacity import MachineType, Prices

SMALL = MachineType("small", "A", 4, "avx2", "", 0.36)
LARGE = MachineType("large", "A", 8, "avx2", "", 0.54)
OTHER = MachineType("other", "B", 4, "amx", "", 0.2)
WITH_GPU = MachineType("gpu", "B", 4, "avx2", "L4", 0.72)
PRICES = Prices(date(2026, 11, 25), "", (SMALL, LARGE, OTHER, WITH_GPU))


def costs(machine_type: str | None = None, *, share: float = 1.0) -> dict[str, capacity.Cost]:
    found = capacity.costs(
        PRICES,
        images_per_s=10,
        cores=2,
        processor_class="avx2",
        share=share,
        machine_type=machine_type,
    )
    return {cost.machine.name: cost for cost in found}


def test_a_million_images_cost_the_hours_that_they_take() -> None:
    # 100 a second are 10 000 s; at $0.36 an hour that is a dollar.
    assert capacity.usd_per_million(0.36, 100) == pytest.approx(1)


def test_the_same_class_is_projected_by_cores() -> None:
    assert (costs()["small"].images_per_s, costs()["small"].basis) == (20, "projected")
    assert costs()["large"].images_per_s == 40


def test_another_class_and_a_gpu_are_not_guessed() -> None:
    for name in ("other", "gpu"):
        assert (costs()[name].images_per_s, costs()[name].usd_per_million) == (None, None)
        assert costs()[name].basis == "not measured"


def test_the_type_that_this_machine_is_was_measured() -> None:
    assert (costs("other")["other"].images_per_s, costs("other")["other"].basis) == (10, "measured")


def test_what_an_objective_leaves_of_a_speed_is_a_projection() -> None:
    derated = costs("other", share=0.6)
    assert (derated["other"].images_per_s, derated["other"].basis) == (6, "projected")
    assert derated["small"].images_per_s == 12
    assert derated["small"].usd_per_million == pytest.approx(0.36 / 3600 / 12 * 1e6)


def test_a_machine_type_without_a_price_is_refused_and_not_projected() -> None:
    with pytest.raises(SetupError, match="the list has small, large, other, gpu"):
        costs("huge")


def test_a_cost_says_what_it_stands_on() -> None:
    assert str(costs("other")["other"]) == (
        "B other: $5.56 per million images, at 10.0 images/s (measured)"
    )
    assert "(projected)" in str(costs()["small"])
    assert str(costs()["gpu"]) == "B gpu: not measured"


@pytest.mark.parametrize("share", [0, -0.5, 1.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="not a share"):
        costs(share=share)


def test_the_cheapest_known_comes_first_and_the_unknown_last() -> None:
    assert list(costs()) == ["large", "small", "other", "gpu"]


def test_breaking_even_costs_as_much_as_the_cheapest() -> None:
    # The large one does 40/s for $0.54: at $0.72 that takes 40 * 0.72 / 0.54.
    assert costs()["gpu"].even_at_per_s == pytest.approx(40 * 0.72 / 0.54)


def test_without_any_speed_there_is_nothing_to_compare_with() -> None:
    found = capacity.costs(PRICES, images_per_s=10, cores=2, processor_class="arm64")
    assert {cost.usd_per_million for cost in found} == {cost.even_at_per_s for cost in found}
    assert {cost.usd_per_million for cost in found} == {None}


def test_a_fleet_is_rounded_up_and_has_one_to_spare() -> None:
    fleet = capacity.fleet(costs()["large"], load_per_s=90)
    assert (fleet.machines, fleet.usd_per_hour) == (4, pytest.approx(4 * 0.54))
    assert fleet.busy == pytest.approx(90 / 160)
    assert str(fleet) == "4 machines, $2.16 per hour, at 56% of their load"


@pytest.mark.parametrize(("name", "load"), [("gpu", 10), ("large", 0)])
def test_a_fleet_of_the_unknown_or_for_nothing_is_refused(name: str, load: float) -> None:
    with pytest.raises(ValueError, match="no fleet"):
        capacity.fleet(costs()[name], load_per_s=load)


def test_the_price_file_says_when_it_was_collected() -> None:
    prices = Prices.read()
    assert date(2026, 1, 1) < prices.collected <= date.today()
    assert len({machine.name for machine in prices.machines}) == len(prices.machines)


def test_the_price_file_names_known_classes_and_some_gpus() -> None:
    machines = Prices.read().machines
    known = {*BFLOAT16_CLASSES, "avx512", "avx2", "arm64"}
    assert {machine.processor_class for machine in machines} <= known
    assert any(machine.gpu for machine in machines)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"collected": "2026-11-25", "what": "", "machines": [',
        '{"collected": "2026-11-25", "what": "", "machines": []}',
        '{"collected": "yesterday", "what": "", "machines": []}',
        '{"collected": "2026-11-25", "what": "", "machines": [{"name": "x"}]}',
    ],
    ids=["empty", "cut off", "no machine", "no date", "no price"],
)
def test_a_price_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(SetupError, match="list of prices"):
        Prices.read(path)


def test_a_price_of_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(capacity.PRICES.read_text().replace("0.145", "0"))
    with pytest.raises(SetupError, match="without a price"):
        Prices.read(path)
