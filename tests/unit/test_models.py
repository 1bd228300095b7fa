import io
import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bitsweep import data, models
from bitsweep.config import Model
from bitsweep.errors import UserError

HERE = "tests.unit.test_models"
IMAGES = torch.zeros(4, 3, 8, 8)


def small():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))


def wider():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 6))


def nothing():
    return None


def broken():
    raise ZeroDivisionError("the user's own bug")


def load(factory=f"{HERE}:small", images=IMAGES, **more):
    return models.load(Model(factory=factory, **more), images)


def refusal(*arguments, **more):
    with pytest.raises(UserError) as caught:
        load(*arguments, **more)
    said = str(caught.value)
    assert "\n" not in said
    return said


def saved(state, **more):
    file = io.BytesIO()
    torch.save(state, file, **more)
    return file.getvalue()


WEIGHTS = small().state_dict()
ZIPPED, LEGACY = (saved(WEIGHTS, _use_new_zipfile_serialization=new) for new in (True, False))


@pytest.fixture
def checkpoint(tmp_path):
    """Write bytes as a checkpoint and return its path."""

    def write(content):
        (tmp_path / "weights.pt").write_bytes(content)
        return str(tmp_path / "weights.pt")

    return write


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_torchvision_is_imported_with_any_build_of_torch():
    """Its wheel stops where torch has no CUDA, were it imported as it is."""
    assert models.torchvision() is models.torchvision()
    assert "resnet50" in models.torchvision().models.list_models()


def test_weights_are_those_of_the_seed():
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first = load("resnet18", images, seed=1)
    torch.rand(7)  # what was drawn before does not matter
    assert same(first, load("resnet18", images, seed=1))
    assert not same(first, load("resnet18", images, seed=2))
    assert not first.training


@pytest.mark.parametrize("factory", ["resnet18", "mobilenet_v2"])
def test_an_untrained_network_tells_photos_apart(factory):
    """Without statistics for batch norm, mobilenet_v2's logits are all within 1e-9 of zero."""
    settings = Model(factory=factory, input_shape=(3, 64, 64), images=6, calibration_images=4)
    photos = data.load(settings)
    network = models.load(settings, torch.from_numpy(photos.calibration))
    with torch.no_grad():
        logits = network(torch.from_numpy(photos.evaluation))
    scale = logits.pow(2).mean().sqrt()
    assert 0.05 < scale < 50
    assert logits.std(0).pow(2).mean().sqrt() > 0.1 * scale
    assert len(set(logits.argmax(1).tolist())) > 1


def test_batch_norm_has_the_statistics_of_the_calibration_images():
    images = 3 + 2 * torch.randn(16, 3, 8, 8)
    norm = load(f"{HERE}:normed", images)[0]
    torch.testing.assert_close(norm.running_mean, images.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, images.transpose(0, 1).flatten(1).var(1))


def test_statistics_are_the_mean_over_batches_of_a_bounded_size(monkeypatch):
    images = 3 + 2 * torch.randn(23, 3, 8, 8)
    monkeypatch.setattr(models, "_BATCH_VALUES", 7 * 3 * 8 * 8)
    sizes, forward = [], models.forward

    def noted(network, batch):
        sizes.append(len(batch))
        return forward(network, batch)

    monkeypatch.setattr(models, "forward", noted)
    norm = load(f"{HERE}:normed", images)[0]
    assert sizes == [6, 6, 6, 5]
    batches = [batch.transpose(0, 1).flatten(1) for batch in images.split(sizes)]
    mean = torch.stack([batch.mean(1) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    variance = torch.stack([batch.var(1) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_var, variance)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (2, [2]), (3, [3]), (5, [3, 2])])
def test_no_batch_is_of_one_image_however_large_they_are(monkeypatch, count, sizes):
    seen = []
    monkeypatch.setattr(models, "_BATCH_VALUES", 10)
    monkeypatch.setattr(models, "forward", lambda _, batch: seen.append(len(batch)))
    load(f"{HERE}:normed", torch.randn(count, 3, 8, 8))
    assert seen == sizes


def transformer():
    """torchvision's, whose head is initialised to zero."""
    return models.torchvision().models.VisionTransformer(
        image_size=8,
        patch_size=4,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=8,
        num_classes=5,
    )


def test_a_head_of_zeros_is_drawn_by_the_seed():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert not transformer().heads.head.weight.any()
    network = load(f"{HERE}:transformer", images, seed=1)
    assert same(network, load(f"{HERE}:transformer", images, seed=1))
    assert not same(network, load(f"{HERE}:transformer", images, seed=2))
    assert not models.is_constant(models.answer(network, images))


def test_a_head_of_zeros_stays_where_weights_are_given(checkpoint):
    weights = checkpoint(saved(transformer().state_dict()))
    network = load(f"{HERE}:transformer", weights=weights)
    assert not network.heads.head.weight.any()


def normed():
    """A network that has statistics of other images already."""
    network = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network(torch.arange(4 * 3 * 64.0).reshape(4, 3, 8, 8))
    return network


@pytest.mark.parametrize("content", [ZIPPED, LEGACY, saved({"epoch": 3, "state_dict": WEIGHTS})])
def test_a_checkpoint_is_loaded(checkpoint, content):
    network = load(weights=checkpoint(content), seed=9)
    assert all(torch.equal(value, WEIGHTS[key]) for key, value in network.state_dict().items())
    assert not network.training


def test_a_torchvision_network_takes_a_checkpoint_too(checkpoint):
    images = torch.zeros(2, 3, 32, 32)
    state = load("squeezenet1_1", images, seed=3).state_dict()
    assert same(
        load("squeezenet1_1", images, weights=checkpoint(saved(state))),
        load("squeezenet1_1", images, seed=3),
    )


damaged = st.one_of(
    st.integers(0, len(ZIPPED) - 1).map(lambda end: ZIPPED[:end]),
    st.integers(0, len(LEGACY) - 1).map(lambda end: LEGACY[:end]),
    st.binary(max_size=40),
    st.binary(max_size=20).map(lambda tail: b"\x80\x02" + tail),  # as a pickle begins
)


@settings(max_examples=200)
@given(damaged)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_checkpoint_is_named_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("damaged") / "weights.pt"
    path.write_bytes(content)
    assert refusal(weights=str(path)).startswith(f"checkpoint {path} ")


def test_a_checkpoint_that_is_missing_is_named():
    assert refusal(weights="no/such.pt") == "checkpoint no/such.pt does not exist"


def test_code_in_a_checkpoint_does_not_run(checkpoint, tmp_path):
    mark = tmp_path / "ran"

    class Code:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    for content in (pickle.dumps(Code(), protocol=2), saved(Code()), saved({"x": Code()})):
        assert "cannot be read" in refusal(weights=checkpoint(content))
        assert not mark.exists()


@pytest.mark.parametrize(
    "state",
    [
        wider().state_dict(),
        {},
        {"2.weight": 3},
        {1: 2},
        [],
        None,
        torch.zeros(2),
        WEIGHTS | {"x": 1},
    ],
    ids=["wider", "empty", "number", "key", "list", "none", "tensor", "more"],
)
def test_weights_of_another_network_do_not_fit(checkpoint, state):
    path = checkpoint(saved(state))
    assert refusal(weights=path).startswith(f"checkpoint {path} does not fit the network: ")


def test_an_unknown_classifier_is_told_from_its_neighbours():
    said = refusal("resnet5")
    assert said.startswith("factory 'resnet5' is not a classifier of torchvision; near it: resnet")
    assert "resnet50" in said
    assert "module:function" in said
    assert "deeplab" not in refusal("deeplabv3_resnet50").partition("near it")[2]


def test_unknown_weights_are_told_with_those_allowed():
    said = refusal("resnet50", weights="IMAGENET1K_V3")
    assert said == (
        "weights 'IMAGENET1K_V3' of resnet50 are unknown; allowed: seeded, a path, "
        "IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT"
    )


def test_weights_that_cannot_be_downloaded_are_told_with_the_remedy(monkeypatch):
    def offline(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(models.torchvision().models, "get_model", offline)
    said = refusal("resnet50", weights="IMAGENET1K_V1")
    assert (
        "IMAGENET1K_V1 of resnet50 could not be downloaded (OSError: Name or service not known)"
        in said
    )
    assert "weights: seeded" in said


def test_a_download_says_what_it_fetched(monkeypatch, tmp_path):
    torchvision = models.torchvision().models
    monkeypatch.setattr(torchvision, "get_model", lambda *_, weights: torch.nn.Linear(2, 3))
    settings = Model(factory="resnet50", weights="IMAGENET1K_V2")
    assert settings.weights_are_downloaded
    models.download(settings, tmp_path / "download.json")
    assert json.loads((tmp_path / "download.json").read_text()) == {
        "factory": "resnet50",
        "weights": "IMAGENET1K_V2",
        "bytes": 4 * (2 * 3 + 3),
    }


def test_own_models_have_nothing_to_download(tmp_path):
    for weights in ("seeded", "w.pt", "dir/w"):
        assert not Model(factory="resnet50", weights=weights).weights_are_downloaded
    with pytest.raises(UserError, match="an own model takes `seeded` or the path"):
        models.download(Model(factory="a:b", weights="IMAGENET1K_V1"), tmp_path / "download.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("no.such:net", "cannot be imported: ModuleNotFoundError: No module named 'no'"),
        (
            f"{HERE}:missing",
            "cannot be imported: AttributeError: module 'tests.unit.test_models' has",
        ),
        (":small", "cannot be imported: ValueError: Empty module name"),
        (".nets:small", "cannot be imported: TypeError: the 'package' argument"),
        (f"{HERE}:nothing", "did not return a torch Module but NoneType"),
        ("os:system", "did not return a torch Module: it raised TypeError: "),
        ("os:getpid", "did not return a torch Module but int"),
        ("sys:exit", "did not return a torch Module: it raised SystemExit"),
    ],
)
def test_an_own_factory_that_cannot_be_used_is_named(factory, said):
    assert refusal(factory).startswith(f"factory {factory!r} {said}")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise SystemExit", "SystemExit"),
        ("raise KeyError('x\\ny')", "KeyError: 'x\\ny'"),
        ("raise RuntimeError('first\\nsecond')", "RuntimeError: first"),
        ("def net(:", "SyntaxError: invalid syntax (ends.py, line 1)"),
    ],
)
def test_a_module_that_cannot_be_run_is_named_by_what_it_raised(tmp_path, monkeypatch, code, said):
    (tmp_path / "ends.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    assert refusal("ends:net") == f"factory 'ends:net' cannot be imported: {said}"


def test_an_error_inside_an_own_factory_keeps_its_traceback():
    with pytest.raises(UserError, match="did not return a torch Module: it raised Zero") as caught:
        load(f"{HERE}:broken")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_own_model_has_no_weights_by_name():
    said = refusal(weights="IMAGENET1K_V1")
    assert said.endswith("an own model takes `seeded` or the path of a checkpoint")


@pytest.mark.parametrize(
    "network",
    [nn.Identity(), nn.Flatten(0), nn.Flatten(0, 2), nn.LSTM(8, 2, batch_first=True)],
    ids=str,
)
def test_a_network_without_a_row_of_logits_is_no_classifier(network):
    images = torch.zeros(2, 8, 8) if isinstance(network, nn.LSTM) else IMAGES
    with pytest.raises(UserError, match="the network is no classifier"):
        models.forward(network, images)


def test_images_that_a_network_does_not_take_are_named_by_their_shape():
    with pytest.raises(UserError, match=r"does not take inputs of shape \(1, 8, 8\): "):
        load(images=torch.zeros(4, 1, 8, 8))


class OnAverage(nn.Module):
    """Takes the mean of all images from each."""

    def forward(self, images):
        return images.mean((2, 3)) - images.mean((0, 2, 3))


class Dropping(nn.Module):
    """Drops some of each image, in evaluation too."""

    def forward(self, images):
        return nn.functional.dropout(images, 0.1, training=True).mean((2, 3))


def statistics_of_the_batch(size):
    return nn.Sequential(
        nn.BatchNorm2d(3, track_running_stats=False),
        nn.AdaptiveAvgPool2d(size),
        nn.Flatten(),
        nn.Linear(3 * size**2, 5),
    )


def statistics_after_pooling():
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3, track_running_stats=False)
    )


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (OnAverage(), "the network's answer to an image depends on the images beside it"),
        (statistics_of_the_batch(2), "the network's answer to an image depends on the images"),
        (statistics_after_pooling(), "the network takes several images but not one alone: the net"),
        (Dropping(), "the network answers an image differently each time: dropout"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_answers_that_rest_on_other_images_or_on_chance_are_refused(network, said):
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError) as caught, torch.no_grad():
        models.require_an_answer_to_each(network.eval(), images)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("factory", ["resnet18", "mobilenet_v2"])
def test_answers_of_torchvisions_networks_rest_on_the_image_alone(factory):
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network = load(factory, images)
    with torch.no_grad():
        models.require_an_answer_to_each(network, images)
        alone = models.answer(network, images)
        assert torch.equal(alone[2], network(images[2:3])[0])
    assert not models.is_constant(alone)


def test_answers_are_constant_where_float32_cannot_tell_them_apart():
    answers = torch.full((5, 4), 3.0)
    assert models.is_constant(answers)
    assert models.is_constant(torch.zeros(5, 4))
    answers[3, 2] += 1e-6
    assert models.is_constant(answers)
    answers[3, 2] += 1e-4
    assert not models.is_constant(answers)
    assert not models.is_constant(1e-9 * torch.eye(4))


def test_one_output_is_no_classifier():
    with pytest.raises(UserError, match="is no classifier: it has one output, whose"):
        models.forward(nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), IMAGES)


class Raising(nn.Module):
    def forward(self, images):
        raise KeyError("of the network's own\nand more")


@pytest.mark.parametrize(
    ("network", "images", "said"),
    [
        (Raising(), IMAGES, "KeyError: "),
        (nn.Linear(3, 2), torch.zeros(4, 8), "RuntimeError: mat1 and mat2 shapes cannot be"),
    ],
)
def test_whatever_a_network_raises_is_told_in_a_line(network, images, said):
    with pytest.raises(UserError, match=f"does not take inputs of shape .*: {said}") as caught:
        models.forward(network, images)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__


def test_forward_returns_the_logits():
    network = small()
    assert torch.equal(models.forward(network, IMAGES), network(IMAGES))
