"""A text file that a flag names and that can't be read: the server ends, and says where."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Server

CONFIG = "tensorflow.serving.ModelServerConfig"


@pytest.mark.parametrize(
    ("flag", "text", "message"),
    [
        ("model_config_file", "model_config_list {\n  config: { nam: 'half' }\n}",
         f"Error parsing text-format {CONFIG}: 2:13: "),
        ("model_config_file", "improperly formatted file\n",
         f"Error parsing text-format {CONFIG}: 1:1: "),
        ("model_config_file", "model_config_list {\n  config { name: 'half'\n",
         f"Error parsing text-format {CONFIG}: 2:18: "),
        ("model_config_file", "model_config_list { config { name: half } }",
         f"Error parsing text-format {CONFIG}: 1:36: "),
        ("tensorflow_session_config_file", "threads: 1",
         "Error parsing text-format tensorflow.ConfigProto: 1:1: "),
        ("monitoring_config_file", "prometheus_config { enable: maybe }",
         "Error parsing text-format tensorflow.serving.MonitoringConfig: 1:29: "),
    ],
)  # fmt: skip
def test_a_file_that_does_not_parse_ends_the_start_with_line_and_column(
    tmp_path: Path, models: Path, flag: str, text: str, message: str
) -> None:
    file = tmp_path / "file.config"
    file.write_text(text)
    flags = [f"--{flag}={file}", "--model_name=half"]
    if flag != "model_config_file":
        flags.append(f"--model_base_path={models / 'half'}")
    server = Server(tmp_path / "log", *flags)
    try:
        assert server.wait() == 255
    finally:
        server.stop()
    assert f"Invalid protobuf file: '{file}'" in server.log
    assert message in server.log
