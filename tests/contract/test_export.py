"""An export is what a server can load, answers as Keras does, and is there whole or not at all.

Most of it is shown on the light network; what is about Inception-v3 itself has random weights.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_servers import Quiet, served

from helpers import photos, settings
from helpers.errors import ExportError, WeightsError
from helpers.export import Export, Trained, export, find, trained
from helpers.export import weights as weights_

pytestmark = pytest.mark.slow

PUPPY = photos.load("puppy").data


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export(tmp_path_factory.mktemp("light"), network="light")


@pytest.fixture(scope="module")
def inception() -> Export:
    # Kept: the next run exports nothing.
    return export(settings.BUILD / "test-models" / "inception", weights="random")


@pytest.fixture(scope="module")
def fast() -> Export:
    return export(settings.BUILD / "test-models" / "fast", weights="random", form="fast")


def answer(exported: Export, *data: bytes, signature: str = settings.PREDICT_SIGNATURE):  # type: ignore[no-untyped-def]
    from helpers.export import load_in_process

    runner = load_in_process(exported.path, signature=signature)
    try:
        return runner(data)
    finally:
        runner.close()


# What it answers


def test_both_signatures_answer_the_same(light: Export) -> None:
    from helpers.export.runtime import tf

    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[PUPPY]))
    example = tf.train.Example(
        features=tf.train.Features(feature={settings.EXAMPLE_FEATURE: feature})
    )
    classes, scores = answer(
        light, example.SerializeToString(), signature=settings.CLASSIFY_SIGNATURE
    )
    expected_classes, expected_scores = answer(light, PUPPY)
    assert classes.tolist() == expected_classes.tolist()
    np.testing.assert_array_equal(scores, expected_scores)


def test_probabilities_come_sorted_and_sum_to_at_most_one(inception: Export) -> None:
    _, scores = answer(inception, *(photo.data for photo in photos.samples()))
    assert (np.diff(scores) <= 0).all()
    assert (scores.sum(axis=1) <= 1 + 1e-6).all()
    assert (scores > 0).all()


def test_a_network_that_knows_nothing_is_sure_of_nothing(inception: Export) -> None:
    """Its scores are near 1/1000, and no photo gets a label of its own."""
    classes, scores = answer(inception, *(photo.data for photo in photos.samples()))
    assert scores.max() < 0.002
    assert len(set(classes[:, 0])) == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"no photo", PUPPY[:100], PUPPY[: len(PUPPY) // 2]],
    ids=["empty", "text", "header only", "truncated"],
)
def test_what_is_no_photo_is_an_error(light: Export, data: bytes) -> None:
    from helpers.export.runtime import tf

    with pytest.raises(tf.errors.InvalidArgumentError):
        answer(light, data)


def test_the_same_seed_gives_the_same_answers(light: Export, tmp_path: Path) -> None:
    again = answer(export(tmp_path / "same", network="light"), PUPPY)
    other = answer(export(tmp_path / "other", network="light", seed=1), PUPPY)
    expected = answer(light, PUPPY)
    np.testing.assert_array_equal(again[1], expected[1])
    assert other[1].tolist() != expected[1].tolist()


# How it is loaded


def test_the_check_finds_an_export_that_only_python_can_load(tmp_path: Path) -> None:
    """The commonest failure of learners: a Keras 3 model saved through a `tf.Module`."""
    from helpers.export import load_in_process, networks
    from helpers.export.runtime import tf
    from helpers.export.signatures import preprocess_batch, top_five

    module = tf.Module()
    module.model = networks.build("light")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def classify(images):  # type: ignore[no-untyped-def]
        return top_five(module.model(preprocess_batch(images), training=False))

    signatures = {settings.PREDICT_SIGNATURE: classify}
    tf.saved_model.save(module, str(tmp_path), signatures=signatures)
    python = tf.saved_model.load(str(tmp_path)).signatures[settings.PREDICT_SIGNATURE]
    assert python(tf.constant([PUPPY]))[settings.SCORES_OUTPUT].shape == (1, 5)
    with pytest.raises(tf.errors.FailedPreconditionError):
        load_in_process(tmp_path)([PUPPY])


def test_the_warm_up_has_a_request_of_each_batch_size(light: Export) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    from helpers.export import warmup
    from helpers.export.runtime import tf

    records = tf.data.TFRecordDataset(str(light.path / warmup.WARMUP)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    sizes = [
        log.predict_log.request.inputs[settings.PREDICT_INPUT].tensor_shape.dim[0].size
        for log in logs
    ]
    assert sizes == list(warmup.BATCH_SIZES)


def test_a_signature_that_it_has_not_is_named(light: Export) -> None:
    with pytest.raises(ExportError, match=r"it has the signatures .*predict_images"):
        answer(light, PUPPY, signature="classify_images")


# The claims of 2016


def test_parameters_and_operations_are_those_that_the_post_claimed() -> None:
    from helpers.export import graph
    from helpers.export.runtime import keras

    model = keras.applications.InceptionV3(weights=None)
    whole = graph.count_parameters(graph.with_auxiliary_head(model))
    assert graph.count_parameters(model) == 23_851_784
    assert 27_000_000 < whole < 28_000_000
    # 5.7 billion, as the post rounds it.
    assert round(graph.count_operations(model).multiply_adds / 1e9, 1) == 5.7


# The fast form


def test_the_fast_form_answers_as_the_plain_one_does(inception: Export, fast: Export) -> None:
    from helpers.export.fast import difference

    data = [photo.data for photo in photos.samples()]
    found = difference(answer(inception, *data), answer(fast, *data))
    assert (found.photos, found.other_top) == (len(data), 0)
    assert found.largest <= 0.02


def test_folding_alone_changes_next_to_nothing(inception: Export, tmp_path: Path) -> None:
    """Without bfloat16 only rounding differs: a wrong fold, or another crop, would show here."""
    from helpers.export import fast
    from helpers.export.exporter import model_of

    found = fast._write_and_compare(model_of(inception), tmp_path / "1", (fast.FOLD, fast.CROP))
    assert found.other_top == 0
    assert found.largest < 1e-4


def test_another_first_label_is_out_of_tolerance() -> None:
    from helpers.export.fast import difference

    scores = np.array([[0.5, 0.4]])
    here, there = np.array([[b"cat", b"dog"]]), np.array([[b"dog", b"cat"]])
    assert not difference((here, scores), (there, scores)).within_tolerance
    assert difference((here, scores), (here, scores * 1.019)).within_tolerance
    assert not difference((here, scores), (here, scores * 1.021)).within_tolerance


def test_of_two_labels_that_are_equally_likely_either_may_come_first() -> None:
    from helpers.export.fast import difference

    here, there = np.array([[b"cat", b"dog"]]), np.array([[b"dog", b"cat"]])
    scores = np.array([[0.5, 0.495]])
    assert difference((here, scores), (there, scores)).within_tolerance


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("size", [(640, 480), (301, 299), (17, 33), (8, 8), (1, 1)])
def test_decoding_a_part_gives_the_same_pixels(size: tuple[int, int], subsampling: str) -> None:
    from helpers.export import fast, signatures
    from helpers.export.runtime import tf

    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", subsampling=subsampling)
    photo = tf.constant(file.getvalue())
    np.testing.assert_array_equal(fast.decode_and_crop(photo), signatures.decode(photo))


# Whole or not at all


def test_a_version_that_is_there_is_not_made_again(light: Export) -> None:
    before = (light.path / "saved_model.pb").stat().st_mtime_ns
    again = export(light.base_path.parent, network="light")
    assert (again, (again.path / "saved_model.pb").stat().st_mtime_ns) == (light, before)


def test_other_settings_are_no_reason_to_replace_it(light: Export) -> None:
    with pytest.raises(ExportError, match=r"seed is 2016, asked for is 7.*overwrite=True"):
        export(light.base_path.parent, network="light", weights="random", seed=7)


def test_it_is_replaced_when_told_so(tmp_path: Path) -> None:
    export(tmp_path, network="light")
    assert export(tmp_path, network="light", seed=7, overwrite=True).seed == find(tmp_path).seed
    assert [entry.name for entry in (tmp_path / "inception").iterdir()] == ["1"]


def test_one_made_by_an_older_version_of_this_project_is_made_anew(tmp_path: Path) -> None:
    old = export(tmp_path, network="light")
    record = old.path / "assets.extra" / "export.json"
    record.write_text(record.read_text().replace(f'"format": {old.format}', '"format": 0'))
    assert export(tmp_path, network="light") == old


def test_an_export_that_fails_leaves_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helpers.export import warmup

    seen = []

    def fail(directory: Path) -> None:
        seen.extend(entry.name for entry in directory.parent.iterdir())
        raise RuntimeError("in the middle")

    monkeypatch.setattr(warmup, "write", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        export(tmp_path, network="light")
    assert [name.isdigit() for name in seen] == [False]  # a server that polls sees no version
    assert list((tmp_path / "inception").iterdir()) == []


def test_what_a_killed_export_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / "inception" / f".1.unfinished-{ended.pid}"
    left.mkdir(parents=True)
    export(tmp_path, network="light")
    assert not left.exists()


def test_an_export_that_is_stopped_says_so_in_one_line(tmp_path: Path) -> None:
    """In IPython, as in a notebook: Ctrl-C in the middle of what writes the variables."""
    program = f"""
        import os, signal
        from pathlib import Path
        from helpers.export import export, runtime, warmup

        def write(directory):
            os.kill(os.getpid(), signal.SIGINT)

        warmup.write = write
        export(Path({str(tmp_path)!r}), network="light")
    """
    file = tmp_path / "stopped.ipy"
    file.write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", str(file)],
        capture_output=True,
        text=True,
    )
    said = f"{done.stdout}{done.stderr}".strip().splitlines()
    assert said == [
        "the light network, plain form: writing the graph",  # how far it was
        "Interrupted: the export was stopped, and left nothing half written. "
        "Run it again to have it.",
    ]
    assert list((tmp_path / "inception").iterdir()) == []


def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    """A process that may write no file over 100 kB stands for a disk that is full."""
    program = f"""
        import resource
        from pathlib import Path
        from helpers.export import export

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        export(Path({str(tmp_path)!r}), network="light")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "ExportError" in last
    assert "the disk is full" in last
    assert "Nothing half written was left" in last
    assert list((tmp_path / "inception").iterdir()) == []


def test_a_directory_that_cant_be_written_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, *_: object, **__: object) -> None:
        # Root, as whom the tests may run, is refused nothing by permissions.
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(folder))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ExportError, match=r"inception/1 couldn't be written: .* writable, or"):
        export(tmp_path, network="light")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"network": "inceptionv3"},
            "There is no network 'inceptionv3': there are inception_v3, light, efficientnet_lite2. "
            "Name one of them as `network`.",
        ),
        (
            {"network": "light", "form": "quick"},
            "There is no form 'quick': there are plain, fast. Name one of them as `form`.",
        ),
        (
            {"network": "light", "version": 0},
            "There is no version 0: servers count from 1. Give a whole number from 1 on as "
            "`version`.",
        ),
    ],
)
def test_the_argument_that_is_wrong_is_told_with_those_that_exist(
    tmp_path: Path, asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(ExportError) as raised:
        export(tmp_path, **asked)
    assert str(raised.value) == told


# Finding one


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ((), "there is no directory"),
        (("inception",), "is empty"),
        (("inception/first",), "named by a number, and .* holds first"),
        (("inception/1",), "is not a whole export.*no saved_model.pb"),
    ],
    ids=["missing", "empty", "not numbered", "half written"],
)
def test_a_model_directory_without_a_model_is_told_apart(
    tmp_path: Path, made: tuple[str, ...], message: str
) -> None:
    for name in made:
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(ExportError, match=rf"{message}.*notebook 01"):
        find(tmp_path)


def test_the_newest_version_is_found(light: Export, tmp_path: Path) -> None:
    for version in (2, 10):
        export(tmp_path, network="light", version=version)
    assert find(tmp_path).version == 10


# Weights


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback that serves a folder; its address."""
    (tmp_path / "weights.h5").write_bytes(b"weights")
    with served(functools.partial(Quiet, directory=str(tmp_path))) as address:
        yield f"http://{address}"


@pytest.fixture
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from helpers.export.runtime import keras

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(keras.config, "keras_home", lambda: str(tmp_path / "keras"), raising=False)
    return tmp_path / "keras"


def test_a_download_is_checked_by_its_hash(web: str, keras_home: Path) -> None:
    with pytest.raises(WeightsError, match=r"can't be downloaded.*TUTORIAL_WEIGHTS=random"):
        weights_.download(f"{web}/weights.h5", md5="0" * 32)


def test_a_download_that_fails_says_how_to_go_on(web: str, keras_home: Path) -> None:
    with pytest.raises(WeightsError, match=r"can't be downloaded.*404.*TUTORIAL_WEIGHTS=random"):
        weights_.download(f"{web}/nowhere.h5")


def test_whether_there_is_a_network_is_known(web: str) -> None:
    assert weights_.reachable(f"{web}/weights.h5")
    assert not weights_.reachable(f"{web}/nowhere.h5")
    assert not weights_.reachable("http://127.0.0.1:9/refused")


def test_a_network_that_never_answers_is_given_up() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert not weights_.reachable(address, timeout_s=0.2)


@pytest.mark.parametrize(
    ("home", "keras_home"),
    [("read-only", None), ("writable", "new/er"), ("writable", "read-only")],
)
def test_the_cache_is_where_keras_keeps_it(
    tmp_path: Path, home: str, keras_home: str | None
) -> None:
    """Asked of Keras itself, with folders that can't be written to; root's always can be."""
    for name in ("writable", "read-only"):
        (tmp_path / name).mkdir()
    program = """
        import os
        from pathlib import Path
        from unittest import mock

        access = os.access
        os.access = lambda path, *a, **k: Path(path).name != "read-only" and access(path, *a, **k)

        from helpers.export import weights
        from helpers.export.runtime import keras
        from keras.src.utils import file_utils

        class Asked(Exception):
            pass

        def stop(folder, **_):
            print(folder)
            raise Asked

        with mock.patch.object(file_utils.os, "makedirs", stop):
            try:
                keras.utils.get_file("weights.h5", "file:///none", cache_subdir="models")
            except Asked:
                print(weights.cached().parent)
    """
    environment = {**os.environ, "HOME": str(tmp_path / home)} | (
        {"KERAS_HOME": str(tmp_path / keras_home)} if keras_home else {}
    )
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    keras_, ours = done.stdout.split()
    assert ours == keras_


def test_without_a_network_weights_are_random_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from helpers.export import exporter

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv(weights_.VARIABLE, raising=False)
    monkeypatch.setattr(weights_, "reachable", lambda: False)
    monkeypatch.setattr(exporter, "_build", lambda asked: asked)
    assert export(tmp_path).weights == "random"
    assert "INCEPTION-V3'S WEIGHTS ARE RANDOM HERE" in capsys.readouterr().out


def test_with_a_network_weights_are_imagenets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv(weights_.VARIABLE, raising=False)
    monkeypatch.setattr(weights_, "reachable", lambda: True)
    assert weights_.choose(None, network="inception_v3") == "imagenet"


def test_the_environment_chooses_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights_.VARIABLE, "/weights.h5")
    assert weights_.choose(None, network="inception_v3") == "/weights.h5"
    assert weights_.choose("random", network="inception_v3") == "random"


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    from helpers.export import networks

    networks.build("light").save_weights(tmp_path / "light.weights.h5")
    with pytest.raises(WeightsError, match="don't fit inception_v3"):
        export(tmp_path / "models", weights=tmp_path / "light.weights.h5")
    assert not list(tmp_path.glob("models/inception/*"))


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"There are no weights at .*nowhere\.h5"):
        export(tmp_path, weights=tmp_path / "nowhere.h5")


def test_weights_are_read_from_a_file(light: Export, tmp_path: Path) -> None:
    from helpers.export.exporter import model_of

    model_of(light).save_weights(tmp_path / "light.weights.h5")
    exported = export(tmp_path / "models", network="light", weights=tmp_path / "light.weights.h5")
    np.testing.assert_array_equal(answer(exported, PUPPY)[1], answer(light, PUPPY)[1])
    assert not exported.labels_are_meaningless


def test_the_light_network_was_never_trained(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has no ImageNet weights"):
        export(tmp_path, network="light", weights="imagenet")


# The stand-in


def test_a_stand_in_gives_the_labels_of_a_network_that_was_not_trained(
    light: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "BUILD", settings.BUILD / "test-models")  # kept
    found = trained(light)
    assert (found.is_stand_in, found.servable) == (True, "efficientnet_lite2")
    assert (found.by, found.export.network) == ("EfficientNet-Lite2", "efficientnet_lite2")
    assert found.caveat == (
        "The light network was never trained; these labels are EfficientNet-Lite2's."
    )
    assert answer(found.export, PUPPY)[0][0, 0] == b"golden retriever"


def test_a_trained_network_gives_its_own(light: Export) -> None:
    made = replace(light, network="inception_v3", weights="imagenet")
    assert trained(made) == Trained(made)
    assert (trained(made).by, trained(made).servable) == ("Inception-v3", "inception")


def test_the_environments_weights_are_inceptions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights_.VARIABLE, "random")
    assert weights_.choose(None, network="efficientnet_lite2") == "imagenet"


def test_a_stand_in_whose_weights_are_not_installed_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from helpers.export import efficientnet

    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package")
    with pytest.raises(WeightsError, match=r"aren't installed.*make setup"):
        efficientnet.weights_file()


def test_a_file_with_another_hash_is_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helpers.export import efficientnet, torch_file

    other = tmp_path / "other.pth"
    other.write_bytes(efficientnet.weights_file().read_bytes() + b"x")
    monkeypatch.setattr(torch_file, "read", lambda _: pytest.fail("it was read"))
    with pytest.raises(WeightsError, match=r"its SHA-256 should be 9656183e\w+ and is \w+"):
        efficientnet.load(efficientnet.build(), other)


def test_every_trained_parameter_has_its_place() -> None:
    from helpers.export import efficientnet, graph, torch_file

    tensors = torch_file.read(efficientnet.weights_file())
    sizes = [t.size for name, t in tensors.items() if not name.endswith("num_batches_tracked")]
    assert sum(sizes) == graph.count_parameters(efficientnet.build()) == 6_150_168


# Speed


def test_speeds_are_measured_in_turn(light: Export) -> None:
    from helpers.export import speed

    forms = [speed.Form("one", light.path), speed.Form("two", light.path, {"ANY": "1"})]
    found = speed.in_turn(forms, seconds=0.01, batch_size=2)
    assert list(found) == ["one", "two"]
    assert all(s.images == 2 * len(s.batch_seconds) == 2 * speed.ROUNDS for s in found.values())


def test_speeds_that_are_told_apart_closely_enough_are_not_measured_for_longer(
    light: Export,
) -> None:
    from helpers.export import speed

    forms = [speed.Form("one", light.path), speed.Form("two", light.path)]
    found = speed.in_turn(forms, seconds=3600, precision=100.0, batch_size=2)
    assert [len(s.batch_seconds) for s in found.values()] == [speed.ROUNDS] * 2


def test_a_speed_over_another_is_told_apart_by_their_rounds() -> None:
    from helpers.export.speed import Speed

    drifting = (1.0, 2.0, 3.0, 4.0, 5.0)  # a machine that gets slower and slower
    slow = Speed(5, drifting, 5.0)
    noisy = tuple(took / 2 * (1.1 if took % 2 else 0.9) for took in drifting)
    twice = Speed(5, noisy, 5.0)
    assert (slow.over(slow).value, slow.over(slow).is_noise) == (1.0, True)
    assert 1.5 < (twice.over(slow).interval.low or 0) < 2 < (twice.over(slow).interval.high or 0)


def test_a_form_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    from helpers.export import speed

    with pytest.raises(ExportError, match=r"speed of broken couldn't be measured"):
        speed.in_turn([speed.Form("broken", tmp_path)], seconds=0.01)
