"""Kernels are cut into the tiles that were measured to be the fastest, and compute the same."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from bitsweep.engines.relax import by_tiles, compile, ir, link, tune
from bitsweep.engines.relax.executor import Executor
from bitsweep.errors import UserError
from bitsweep.relax.compiler import tiled
from bitsweep.relax.kernels.choice import made
from bitsweep.relax.transform.canonicalise import canonicalise
from tests.unit.relax import torch_networks
from tests.unit.relax.test_kernels_attention import module as of_attention
from tests.unit.tasks import NATIVE


@pytest.fixture(scope="module")
def network():
    """A network in floats, with images."""
    of_torch, images = torch_networks.mobile()
    return canonicalise(torch_networks.imported(of_torch, images)), images


@pytest.fixture(scope="module")
def kernels(network, target):
    return tiled(network[0], target)


class Folder:
    """The files of a module's stages."""

    def __init__(self, folder):
        names = ("ir", "params", "text", "log", "kept", "llvm_ir", "assembly")
        self.path = {name: folder / name for name in names}
        self.path |= {"objects": folder / "objects.tar", "module": folder / "module.so"}
        self._paths = {name: str(path) for name, path in self.path.items()}

    def save(self, module):
        ir.save(module, self._paths)

    def tune(self, trials):
        """Tune; the lines of the log."""
        tuning = {"by": "tiles", "trials": trials, "seconds": 100}
        settings = {"target": NATIVE, "tuning": tuning, "kept": self._paths["kept"]}
        tune.run(self._paths, self._paths, settings)
        return self.path["log"].read_text(encoding="utf-8").splitlines(keepends=True)

    def answers(self, images, records=None):
        """Compile, by a log of these records if there are any; the assembly, and the answers."""
        if records is not None:
            write(self.path["log"], records)
        tuner = None if records is None else "tiles"
        compile.run(self._paths, self._paths, {"target": NATIVE, "tuner": tuner})
        link.run(self._paths, self._paths, {})
        executor = Executor(self._paths["module"])
        assembly = self.path["assembly"].read_text(encoding="utf-8")
        return assembly, np.stack([executor.run(image) for image in images])


def write(log, records):
    log.write_text("".join(f"{json.dumps(one)}\n" for one in records), encoding="utf-8")


def test_a_module_has_the_tiles_that_its_tuning_found_the_fastest(network, tmp_path):
    """Of floats, whose sums depend on their order; those of integers have tests of their own."""
    module, images = network
    folder = Folder(tmp_path)
    folder.save(module)
    first = folder.tune(1)
    # as a kill leaves it
    folder.path["kept"].write_text("".join(first) + first[0][:40], encoding="utf-8")
    lines = folder.tune(2)
    assert lines[: len(first)] == first
    assert folder.path["kept"].read_text(encoding="utf-8") == "".join(lines)

    records = [json.loads(line) for line in lines]
    tiles = Counter(by_tiles.key(record) for record in records)
    assert len(tiles) == len(first)
    assert {2} <= set(tiles.values()) <= {1, 2}  # a kernel may have one tile only
    for record in records:
        assert len(record["seconds"]) == len(record["untuned_seconds"])
        assert min(record["seconds"]) > 0
    for line in first:
        record = json.loads(line)
        assert record["seconds"] == record["untuned_seconds"]

    untuned, expected = folder.answers(images)
    for record in records:
        record |= {"seconds": [0.5] * 15, "untuned_seconds": [1.0] * 15}
    tuned, answers = folder.answers(images, records[len(first) :])
    assert tuned != untuned
    np.testing.assert_array_equal(answers, expected)

    text = folder.path["kept"].read_text(encoding="utf-8")
    folder.path["kept"].write_text(text.replace('"code": "', '"code": "another '), encoding="utf-8")
    with pytest.raises(UserError, match=r"kept is of another network or target: none of its \d+"):
        folder.tune(2)


NOISY = [0.5, 1.5] * 7 + [0.5]


@pytest.mark.parametrize(
    ("ratios", "place"),
    [
        ({}, 0),
        ({1: [0.9] * 15, 2: [0.8] * 15, 3: [0.99] * 15}, 2),
        ({3: [0.99] * 15}, 0),  # within the noise
        ({1: [0.5] * 11 + [1.0] * 4}, 0),
        ({1: [0.5] * 12 + [1.0] * 3}, 1),
        ({1: NOISY, 2: [0.95] * 15}, 2),  # of the least median, by luck
    ],
)
def test_a_tile_is_taken_where_it_is_faster_by_more_than_the_noise(
    kernels, target, tmp_path, ratios, place
):
    kernel = max(kernels, key=lambda kernel: len(kernel.tiles))
    asked = []
    spied = replace(kernel, make=lambda tile: asked.append(tile) or kernel.make(tile))
    of = {"target": str(target), "kernel": kernel.name, "code": kernel.digest()}
    drift = np.linspace(1, 3, 15)
    records = [
        {**of, "tile": [tile.rows, tile.columns, tile.blocks]}
        | {"seconds": list(drift * by), "untuned_seconds": list(drift)}
        for number, by in ratios.items()
        for tile in [kernel.tiles[number]]
    ]
    # of a tile that the kernel has no more, and of another kernel
    fast = {"seconds": [0.1] * 15, "untuned_seconds": [1.0] * 15}
    records.append({**of, "tile": [9, 9, 9], **fast})
    other = kernel.tiles[-1]
    records.append({**of, "code": "0", "tile": [other.rows, other.columns, other.blocks], **fast})
    log = tmp_path / "log"
    write(log, records)
    with by_tiles.best(str(log), target):
        made(spied)
    assert asked[-1] == kernel.tiles[place]
    made(spied)
    assert asked[-1] == kernel.tiles[0]


def test_layers_that_share_their_code_are_one_kernel(target, tmp_path):
    sizes = [(1, 16), (16, 16), (16, 16), (16, 8)]
    layers = [nn.Conv2d(*channels, 3, padding=1) for channels in sizes]
    images = np.zeros((1, 1, 8, 8), np.float32)
    module = canonicalise(torch_networks.imported(nn.Sequential(*layers).eval(), images))
    kernels = tiled(module, target)
    found = by_tiles.searches(module, target, tmp_path / "log", [])
    assert (len(kernels), len(found)) == (4, 3)
    assert {kernel.digest() for kernel in kernels} == {json.loads(one.key)[2] for one in found}


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_an_attention_is_measured(target, tmp_path, dtype):
    """With whatever it is called with it reads its arguments, of which one is an index."""
    shape = {"windows": 3, "channels": 96, "tokens": 9, "heads": 2, "size": 16}
    shape["offsets"] = [0, 32, 64]
    name, score, attrs = "attention", "float32", {"scale": 0.2}
    if dtype == "uint8":
        name, score, attrs = "qattention", "int32", {"score_scale": 0.3, "value_scale": 0.7}
        attrs |= {"input_zero_point": 3, "output_zero_point": 5, "clip_min": 0, "clip_max": 255}
    bias = [np.zeros((2, 2, 9, 9), score), np.array([0, 1, 1], np.int32)]
    log = tmp_path / "log"
    (search,) = by_tiles.searches(of_attention(shape, name, dtype, bias, attrs), target, log, [])
    search.measure(2)
    assert search.tried == len(log.read_text(encoding="utf-8").splitlines()) == 2
