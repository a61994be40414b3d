"""What notebook 08 promises, wherever its replicas run."""

from __future__ import annotations

from typing import Any

EACH = 5_000  # requests of each client while two replicas are replaced, again and again


class Promises:
    """Tests of what notebook 08 published, which is the fixture `rolled_out`."""

    def test_the_settings_and_a_client_that_retries_lose_nothing_together(
        self, rolled_out: dict[str, Any]
    ) -> None:
        assert rolled_out["lost_with_ours"] == 0

    def test_kubernetes_defaults_lose_requests_of_a_client_with_one_attempt(
        self, rolled_out: dict[str, Any]
    ) -> None:
        assert rolled_out["lost_with_defaults"] > 0

    def test_retries_save_some_of_those(self, rolled_out: dict[str, Any]) -> None:
        lost = rolled_out["lost"]["Kubernetes' defaults"]
        assert lost["retrying"] < lost["one attempt"]

    def test_a_canary_that_serves_as_well_and_says_something_else_is_held(
        self, rolled_out: dict[str, Any]
    ) -> None:
        # Latency isn't asserted on: it belongs to the machine, and to what else runs on it.
        assert (rolled_out["canary_lost"], rolled_out["canary_errors_p"]) == (0, 1.0)
        assert (rolled_out["disagreement"], rolled_out["canary_may_be_promoted"]) == (1.0, False)

    def test_a_label_moves_back_and_forth_on_every_replica(
        self, rolled_out: dict[str, Any]
    ) -> None:
        assert rolled_out["stable_answered_by"] == {"before": 1, "promoted": 2, "rolled back": 1}

    def test_each_broken_version_is_refused_and_nobody_notices(
        self, rolled_out: dict[str, Any]
    ) -> None:
        assert (rolled_out["broken_versions_refused"], rolled_out["lost_meanwhile"]) == (3, 0)

    def test_a_broken_release_fails_with_its_reason_and_takes_nothing_away(
        self, rolled_out: dict[str, Any]
    ) -> None:
        assert "did not become available" in rolled_out["broken_release_reason"]
        assert (rolled_out["ready_meanwhile"], rolled_out["lost_to_broken_release"]) == (2, 0)

    def test_nothing_is_left(self, rolled_out: dict[str, Any]) -> None:
        assert rolled_out["leftovers"] == []
