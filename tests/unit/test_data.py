import gc
import shutil

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from bitsweep import data, digits
from bitsweep.config import Model
from bitsweep.errors import UserError

SHAPE = (3, 16, 16)
COLOURS = {"green": (0, 128, 0), "red": (128, 0, 0)}
# By the first letter of a class: its channel, with the mean and deviation that normalize it.
COLOUR_CHANNEL, MEAN, STD = {"g": 1, "r": 0}, {"g": 0.456, "r": 0.485}, {"g": 0.224, "r": 0.229}


def settings(**more):
    return Model.model_validate(
        {"factory": "any", "input_shape": SHAPE, "selection_images": 2}
        | {"images": 4, "calibration_images": 3}
        | more
    )


def load(**more):
    return data.load(settings(**more))


def refusal(**more):
    with pytest.raises(UserError) as caught:
        load(**more)
    said = str(caught.value)
    assert "\n" not in said
    return said


def rows(images):
    return {image.tobytes() for image in images}


@pytest.fixture
def photo(tmp_path):
    """A photo of noise, not square."""
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Six images in each of two classes, of one colour each, its shade telling them apart."""
    return coloured(tmp_path / "classes", 6)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """The same with ten images in each class."""
    return coloured(tmp_path_factory.mktemp("twenty"), 10)


def coloured(folder, count):
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for shade in range(count):
            image = Image.new("RGB", (30, 20), tuple(c and c + shade for c in colour))
            image.save(folder / name / f"{shade}.png")
    return folder


@pytest.fixture(params=["photos", "random", "image"])
def source(request, photo):
    return str(photo) if request.param == "image" else request.param


def test_images_are_as_many_and_as_large_as_asked_for(source):
    images = load(data=source, input_shape=(3, 16, 24))
    assert images.calibration.shape == (3, 3, 16, 24)
    assert images.evaluation.shape == (4, 3, 16, 24)
    assert images.selection.shape == (2, 3, 16, 24)
    assert images.calibration.dtype == images.evaluation.dtype == np.float32
    assert images.labels is None


def test_images_that_are_decoded_have_their_channels_last_in_memory(source):
    """PyTorch's kernels, and so a seeded network's last bits, follow the layout."""
    images = torch.from_numpy(load(data=source).calibration)
    last = images.is_contiguous(memory_format=torch.channels_last)
    assert last == (source != "random")


def test_images_are_those_of_the_seed(source):
    first, again, other = (load(data=source, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.evaluation, again.evaluation)
    assert np.array_equal(first.calibration, again.calibration)
    assert not rows(first.evaluation) & rows(other.evaluation)


def test_images_all_differ(source):
    images = load(data=source)
    parts = (images.calibration, images.selection, images.evaluation)
    assert len(set.union(*map(rows, parts))) == 9


def test_photos_are_normalized_as_torchvision_trains():
    images = load(data="photos", images=16)
    pixels = images.evaluation * np.array([0.229, 0.224, 0.225])[:, None, None]
    pixels += np.array([0.485, 0.456, 0.406])[:, None, None]
    assert -1e-6 < pixels.min() < 0.1
    assert 0.9 < pixels.max() < 1 + 1e-6


def test_the_random_state_of_torch_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load(data="photos")
    assert torch.equal(torch.rand(1), expected)


def test_random_images_are_standard_normal():
    images = load(data="random", images=64).evaluation
    assert abs(images.mean()) < 0.02
    assert abs(images.std() - 1) < 0.02


SMALL = st.integers(1, 5)


@hypothesis_settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.tuples(st.integers(1, 540), st.integers(1, 96), st.integers(1, 240)),
)
def test_no_digit_is_in_two_splits(seed, sizes):
    """Weights that one seed trained are loaded by models of others: the splits are one for all."""
    more = {**dict(zip(data.SIZES, sizes, strict=True)), "seed": seed, "train": {"epochs": 1}}
    images = load(data="digits", input_shape=(1, 8, 8), **more)
    expected = digits.splits()
    pixels, labels = digits.load()
    for (name, array), size in zip(arrays(images).items(), sizes, strict=True):
        assert images.splits[name] == expected[name][:size].tolist()
        assert np.array_equal(array, pixels[images.splits[name]])
    assert np.array_equal(images.labels, labels[images.splits["test"]])
    assert np.array_equal(images.selection_labels, labels[images.splits["selection"]])
    trained = data.training(settings(data="digits", input_shape=(1, 8, 8), **more))
    assert np.array_equal(trained.images, pixels[images.splits["training"]])
    assert np.array_equal(trained.labels, labels[images.splits["training"]])
    assert_disjoint(images.splits)
    parts = [rows(array) for array in (*arrays(images).values(), trained.images)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == sum(sizes) + 921


@hypothesis_settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.tuples(SMALL, SMALL, SMALL))
def test_no_image_of_a_folder_is_in_two_splits(twenty, seed, sizes):
    more = {**dict(zip(data.SIZES, sizes, strict=True)), "seed": seed, "train": {"epochs": 1}}
    images = load(data=str(twenty), **more)
    trained = data.training(settings(data=str(twenty), **more))
    left = np.arange(20 - sum(sizes))
    parts = {**arrays(images), "training": trained.images[left]}
    assert len(trained.labels) == len(left)
    assert_disjoint(images.splits)
    assert {name for names in images.splits.values() for name in names} == {
        f"{colour}/{shade}.png" for colour in COLOURS for shade in range(10)
    }
    for name, array in parts.items():
        assert len(array) == len(images.splits[name])
        for image, file in zip(array, images.splits[name], strict=True):
            level = float(Image.open(twenty / file).getpixel((0, 0))[COLOUR_CHANNEL[file[0]]])
            assert image[COLOUR_CHANNEL[file[0]]].max() * STD[file[0]] + MEAN[file[0]] == (
                pytest.approx(level / 255, abs=1e-5)
            )
    for labels, name in (
        (images.labels, "test"),
        (images.selection_labels, "selection"),
        (trained.labels, "training"),
    ):
        assert [images.classes[place] for place in labels] == [
            file.partition("/")[0] for file in images.splits[name]
        ]


@hypothesis_settings(max_examples=20, deadline=None)
@given(st.sampled_from(["photos", "random"]), st.tuples(SMALL, SMALL, SMALL))
def test_no_image_that_is_made_is_in_two_splits(source, sizes):
    images = load(data=source, **dict(zip(data.SIZES, sizes, strict=True)))
    assert [len(array) for array in arrays(images).values()] == list(sizes)
    assert_disjoint(images.splits)
    assert len(set.union(*map(rows, arrays(images).values()))) == sum(sizes)
    assert images.selection_labels is None


def assert_disjoint(splits):
    members = [member for names in splits.values() for member in names]
    assert len(set(members)) == len(members)


def arrays(images):
    """The images of each split but training, in the order of `data.SIZES`."""
    return {
        "test": images.evaluation,
        "calibration": images.calibration,
        "selection": images.selection,
    }


def test_the_test_images_of_a_folder_stay_whatever_else_there_is(twenty):
    one = load(data=str(twenty))
    other = load(data=str(twenty), calibration_images=5, selection_images=6, train={"epochs": 1})
    assert one.splits["test"] == other.splits["test"]
    assert np.array_equal(one.evaluation, other.evaluation)
    assert "training" not in one.splits


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"images": 541}, "digits has 540 test images, not 541"),
        ({"calibration_images": 97}, "digits has 96 calibration images, not 97"),
        ({"selection_images": 241}, "digits has 240 selection images, not 241"),
    ],
)
def test_what_the_digits_do_not_have_is_named(more, said):
    assert refusal(**{"data": "digits", "input_shape": (1, 8, 8)} | more) == said


def test_photos_have_three_channels(source):
    if source == "random":
        assert load(data=source, input_shape=(5, 8, 8)).evaluation.shape[1] == 5
    else:
        said = refusal(data=source, input_shape=(1, 16, 16))
        assert said == f"data {source!r} has 3 channels, input_shape [1, 16, 16] 1"


def test_an_image_of_any_mode_serves(tmp_path):
    for mode in ("L", "RGBA", "P", "1", "CMYK"):
        path = tmp_path / f"{mode}.tiff"
        Image.new(mode, (40, 30), 1).save(path)
        assert np.isfinite(load(data=str(path)).evaluation).all()


def test_an_image_that_does_not_exist_is_named():
    assert refusal(data="no/such.jpg") == "image no/such.jpg does not exist"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp", "ppm"])
@pytest.mark.filterwarnings("error")
def test_an_image_cut_off_anywhere_is_named(photo, tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.open(photo).save(path)
    whole = path.read_bytes()
    for end in (*range(20), *np.linspace(20, len(whole) // 2, 20, dtype=int)):
        path.write_bytes(whole[:end])
        assert refusal(data=str(path)).startswith(f"image {path} cannot be read: ")
    gc.collect()  # a file left open is an error then


def test_an_image_too_large_to_decode_is_named(photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert refusal(data=str(photo)).startswith(
        f"image {photo} cannot be read: DecompressionBombError: Image size (2400"
    )


def test_a_text_is_no_image(tmp_path):
    path = tmp_path / "image.png"
    path.write_text("not an image")
    assert refusal(data=str(path)).startswith(f"image {path} cannot be read: ")


def test_a_folder_gives_each_image_the_label_of_its_class(folder):
    """Classes are numbered by name: green is 0, red is 1."""
    images = load(data=str(folder), images=6, calibration_images=4)
    assert len(rows(images.calibration) | rows(images.evaluation) | rows(images.selection)) == 12
    assert images.labels.dtype == np.int64
    red, green = images.evaluation[:, 0, 8, 8], images.evaluation[:, 1, 8, 8]
    assert (images.labels == (red > green)).all()
    assert set(images.labels) == {0, 1}
    assert images.classes == ("green", "red")


def test_classes_with_numbers_are_in_the_order_of_the_numbers(folder):
    for number in (0, 1, 2, 10):
        shutil.copytree(folder / "red", folder / f"{number}")
    images = load(data=str(folder))
    assert images.classes == ("0", "1", "2", "10", "green", "red")


def test_hidden_folders_and_files_are_no_classes_and_no_images(folder):
    """What Jupyter and macOS leave: copies, and what only looks like an image."""
    expected = load(data=str(folder), images=6, calibration_images=4)
    shutil.copytree(folder / "red", folder / ".ipynb_checkpoints")
    shutil.copytree(folder / "red", folder / "green" / ".ipynb_checkpoints")
    (folder / "green" / "._0.png").write_bytes(b"Mac OS X")
    images = load(data=str(folder), images=6, calibration_images=4)
    assert images.classes == ("green", "red")
    assert np.array_equal(images.evaluation, expected.evaluation)
    assert np.array_equal(images.labels, expected.labels)


def test_a_folder_is_drawn_from_by_the_seed(folder):
    first, again, other = (load(data=str(folder), seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.evaluation, again.evaluation)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.evaluation, other.evaluation)


def test_the_centre_of_an_image_is_what_is_seen(folder):
    """A white frame, a tenth of the shorter edge wide, is cropped away but for its blur."""
    for path in folder.rglob("*.png"):
        image = Image.new("RGB", (300, 200), "white")
        image.paste("black", (60, 20, 240, 180))
        image.save(path)
    images = load(data=str(folder)).evaluation
    black = (0 - 0.485) / 0.229
    assert images[:, 0, 2:-2, 2:-2].max() == pytest.approx(black)


def test_a_folder_with_too_few_images_says_how_many(folder):
    assert refusal(data=str(folder), images=8) == (
        f"data {folder} has 12 images, not the 13 that images, calibration_images and "
        "selection_images add up to"
    )


def test_a_folder_that_leaves_nothing_to_train_on_says_so(folder):
    with pytest.raises(UserError, match="add up to, which leaves none to train on"):
        data.training(settings(data=str(folder), images=7, train={"epochs": 1}))
    assert len(data.training(settings(data=str(folder), images=6, train={"epochs": 1})).labels) == 1


def test_one_image_has_no_labels_to_train_on(photo):
    with pytest.raises(UserError, match="has no labels to train on; allowed are digits, or a "):
        data.training(settings(data=str(photo), train={"epochs": 1}))


def test_a_folder_without_classes_is_named(tmp_path, photo):
    said = f"data {tmp_path}: not a folder with a folder of images per class"
    assert refusal(data=str(tmp_path)) == said
    (tmp_path / "empty").mkdir()
    assert refusal(data=str(tmp_path)) == f"{said}: 'empty' has none"


def test_a_damaged_image_in_a_folder_is_named(folder):
    damaged = folder / "red" / "3.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert refusal(data=str(folder), images=7).startswith(f"image {damaged} cannot be read: ")
