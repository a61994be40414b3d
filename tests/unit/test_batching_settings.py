"""One model under many names: each has the same files and parameters of its own."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from helpers.errors import SetupError
from helpers.load import batching_settings


@pytest.fixture
def version(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "inception" / "3"
    (path / "variables").mkdir(parents=True)
    (path / "assets.extra").mkdir()
    (path / "saved_model.pb").write_bytes(b"graph")
    return path


def test_each_setting_has_a_model_with_its_own_parameters(version: Path, tmp_path: Path) -> None:
    made = batching_settings.write(version, tmp_path / "sweep", sizes=[1, 8], timeouts_us=[0, 500])
    assert set(made.names) == {(1, 0), (1, 500), (8, 0), (8, 500)}
    own = made.models / made.names[8, 500] / "3"
    assert (own / "saved_model.pb").read_bytes() == b"graph"
    written = (own / batching_settings.PARAMETERS).read_text()
    assert "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 500 }\n" in written


def test_warm_up_requests_are_left_out(version: Path, tmp_path: Path) -> None:
    # They hold two photos, which a server whose largest batch is one refuses to start with.
    made = batching_settings.write(version, tmp_path / "sweep", sizes=[1], timeouts_us=[0])
    assert not (made.models / made.names[1, 0] / "3" / "assets.extra").exists()


def test_the_server_is_told_of_every_model(version: Path, tmp_path: Path) -> None:
    made = batching_settings.write(version, tmp_path / "sweep", sizes=[1, 8], timeouts_us=[0])
    file = Path(made.args[0].partition("=")[2])
    config = text_format.Parse(file.read_text(), model_server_config_pb2.ModelServerConfig())
    listed = {model.name: model.base_path for model in config.model_config_list.config}
    assert set(listed) == {"inception", *made.names.values()}
    assert all(Path(path, "3", "saved_model.pb").is_file() for path in listed.values())


def test_a_sweep_replaces_the_last_one(version: Path, tmp_path: Path) -> None:
    batching_settings.write(version, tmp_path / "sweep", sizes=[1], timeouts_us=[0])
    made = batching_settings.write(version, tmp_path / "sweep", sizes=[2], timeouts_us=[0])
    found = {path.name for path in made.models.iterdir()}
    assert found == {"inception", "models.config", made.names[2, 0]}


def test_a_folder_with_something_else_is_left_alone(version: Path) -> None:
    with pytest.raises(SetupError, match="something else in it"):
        batching_settings.write(version, version, sizes=[1], timeouts_us=[0])
    assert (version / "saved_model.pb").read_bytes() == b"graph"


@pytest.mark.parametrize(("sizes", "timeouts"), [([], [0]), ([1], []), ([0], [0]), ([1], [-1])])
def test_a_sweep_of_nothing_is_refused(
    version: Path, tmp_path: Path, sizes: list[int], timeouts: list[int]
) -> None:
    with pytest.raises(SetupError, match="nothing to sweep"):
        batching_settings.write(version, tmp_path / "sweep", sizes=sizes, timeouts_us=timeouts)
