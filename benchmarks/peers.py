"""A network beside the systems that a user would pick instead, all in turn, in one run.

    snakemake --cores 4                                    # makes the modules of results/
    python -m venv peers && peers/bin/pip install -r requirements/peers.txt
    python benchmarks/peers.py --peers peers/bin/python [--results R] [--model M]
        [--threads N] [--rounds N]

Takes a traced model, `resnet50` by default, and its calibration images from the results of an
experiment: Relax's modules as they are; of ONNX Runtime float32 and int8 (static, QDQ, per
channel), of OpenVINO float32 and int8 (NNCF's post-training quantization). Each is a process of its
own that waits, stopped, while another runs. Prints the versions; for each system the median
milliseconds of an image with the 2.5th and 97.5th percentile of its rounds, the median of its
ratios to OpenVINO's int8 and to Relax's int8 of the same round, and the cosine of its answer with
PyTorch's. Without `--peers`, Relax's modules alone.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
RUNS = 5  # of a round, after one that is dropped
REFERENCES = ("openvino int8", "relax int8")


def main(peers: str | None, network: Path, threads: int, rounds: int) -> None:
    precisions = [path.parent.name for path in sorted(network.glob("relax/*/*/module.so"))]
    precisions = [p for p in precisions if _module(network, p).stat().st_size]
    if not precisions:
        sys.exit(f"{network} has no module of Relax: run an experiment that makes it")
    with tempfile.TemporaryDirectory() as folder:
        systems = {
            f"relax {p}": _Timed(sys.executable, "relax", _module(network, p), network, threads)
            for p in precisions
        }
        if peers:
            command = [peers, __file__, "--make", str(network), folder]
            made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            print(made.splitlines()[-1], flush=True)
            for (name, precision), file in _files(folder).items():
                systems[f"{name} {precision}"] = _Timed(peers, name, file, network, threads)
        taken = {name: [] for name in systems}
        for number in range(rounds):
            order = list(systems) if number % 2 == 0 else list(systems)[::-1]
            for name in order:
                taken[name].append(systems[name].time())
        told = {name: system.end() for name, system in systems.items()}
    references = [name for name in REFERENCES if name in taken]
    print(f"{threads} threads, {rounds} rounds of {RUNS} runs")
    print(f"{'':<20} {'ms':>8} {'2.5 %':>8} {'97.5 %':>8}", end="")
    print("".join(f" {'/ ' + name:>15}" for name in references), f"{'cosine':>8}")
    for name, rows in taken.items():
        low, middle, high = np.percentile(rows, [2.5, 50, 97.5])
        ratios = [np.median(np.divide(rows, taken[reference])) for reference in references]
        print(f"{name:<20} {middle:8.3f} {low:8.3f} {high:8.3f}", end="")
        print("".join(f" {ratio:15.3f}" for ratio in ratios), f"{told[name]:8.4f}")


def _files(folder: str) -> dict[tuple[str, str], Path]:
    """The peers' networks, by system and precision."""
    return {
        (name, precision): Path(folder, f"{name}-{precision}.{suffix}")
        for name, suffix in (("onnxruntime", "onnx"), ("openvino", "xml"))
        for precision in ("float32", "int8")
    }


def _module(network: Path, precision: str) -> Path:
    (path,) = network.glob(f"relax/*/{precision}/module.so")
    return path


class _Timed:
    """A process that times a system when told to, and else is stopped."""

    def __init__(self, python: str, system: str, module: Path, network: Path, threads: int):
        self._process = subprocess.Popen(
            [python, __file__, "--serve", system, str(module), str(network), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TVM_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)},
            cwd=ROOT,
        )
        self._cosine = float(self._said())
        self._process.send_signal(signal.SIGSTOP)

    def time(self) -> float:
        """The median milliseconds of a round's runs."""
        self._process.send_signal(signal.SIGCONT)
        print("time", file=self._process.stdin, flush=True)
        milliseconds = float(self._said())
        self._process.send_signal(signal.SIGSTOP)
        return milliseconds

    def end(self) -> float:
        """End the process; return the cosine of its answer."""
        self._process.kill()
        self._process.wait()
        return self._cosine

    def _said(self) -> str:
        while line := self._process.stdout.readline():
            if line.startswith("> "):
                return line[2:]
        sys.exit(f"{self._process.args} ended")


# In the processes.


def serve(system: str, module: str, network: str, threads: str) -> None:
    """Answer each line of the standard input with the median milliseconds of a round."""
    image, expected = _reference(Path(network))
    run = SERVERS[system](module, image, int(threads))
    answer = np.asarray(run()).reshape(-1).astype(np.float64)
    cosine = answer @ expected / np.linalg.norm(answer) / np.linalg.norm(expected)
    for _ in range(20):
        run()
    print(f"> {cosine}", flush=True)
    for _ in sys.stdin:
        taken = []
        for _ in range(RUNS + 1):
            start = time.perf_counter()
            run()
            taken.append(1e3 * (time.perf_counter() - start))
        print(f"> {np.median(taken[1:])}", flush=True)


def _reference(network: Path) -> tuple[np.ndarray, np.ndarray]:
    """The first test image (1, C, H, W), and PyTorch's answer to it."""
    with np.load(network / "reference.npz") as reference:
        return reference["input"][:1], reference["output"][0].astype(np.float64)


def _relax(module: str, image: np.ndarray, threads: int) -> Callable:
    sys.path.insert(0, str(ROOT))
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(tvm.runtime.load_module(module), tvm.cpu())
    tensor = tvm.runtime.tensor(np.ascontiguousarray(image))
    return lambda: machine["main"](tensor).numpy()


def _onnxruntime(module: str, image: np.ndarray, threads: int) -> Callable:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(module, options, providers=["CPUExecutionProvider"])
    (parameter,) = session.get_inputs()
    return lambda: session.run(None, {parameter.name: image})[0]


def _openvino(module: str, image: np.ndarray, threads: int) -> Callable:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 takes float32's place where there is AMX
    }
    request = openvino.Core().compile_model(module, "CPU", settings).create_infer_request()
    return lambda: request.infer([image])[0]


SERVERS = {"relax": _relax, "onnxruntime": _onnxruntime, "openvino": _openvino}


def make(network: str, folder: str) -> None:
    """Write the peers' networks, in their environment; print their versions as JSON."""
    import nncf
    import onnx
    import onnxruntime
    import openvino
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with np.load(Path(network, "calibration.npz")) as file:
        images = file["input"].astype(np.float32)
    exported = torch.export.load(Path(network, "exported.pt2"))
    paths = {" ".join(which): str(path) for which, path in _files(folder).items()}
    program = torch.onnx.export(exported, dynamo=True, opset_version=18, verbose=False)
    program.save(paths["onnxruntime float32"])

    class Images(CalibrationDataReader):
        def __init__(self):
            (parameter,) = onnx.load(paths["onnxruntime float32"]).graph.input
            self._left = iter([{parameter.name: image[None]} for image in images])

        def get_next(self):
            return next(self._left, None)

    prepared = str(Path(folder, "prepared.onnx"))
    quant_pre_process(paths["onnxruntime float32"], prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        paths["onnxruntime int8"],
        Images(),
        activation_type=QuantType.QUInt8,  # which VNNI multiplies
        per_channel=True,
    )
    model = openvino.convert_model(paths["onnxruntime float32"])
    openvino.save_model(model, paths["openvino float32"], compress_to_fp16=False)
    calibration = nncf.Dataset([image[None] for image in images])
    quantized = nncf.quantize(model, calibration, subset_size=len(images))
    openvino.save_model(quantized, paths["openvino int8"])
    packages = (onnxruntime, openvino, nncf)
    print(json.dumps({package.__name__: package.__version__ for package in packages}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
    elif sys.argv[1:2] == ["--make"]:
        make(*sys.argv[2:])
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--peers")
        parser.add_argument("--results", type=Path, default=ROOT / "results")
        parser.add_argument("--model", default="resnet50")
        parser.add_argument("--threads", type=int, default=2)
        parser.add_argument("--rounds", type=int, default=100)
        arguments = parser.parse_args()
        network = arguments.results.resolve() / arguments.model
        main(arguments.peers, network, arguments.threads, arguments.rounds)
