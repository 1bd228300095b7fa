"""The examples of docs/quantizer.md, as a user would run them."""

import re
import subprocess
import sys
from pathlib import Path

from bitsweep.relax import plan

ROOT = Path(__file__).parents[3]

COMPARE = """
ours = answer
theirs = relax.VirtualMachine(tvm.compile(quantized, tvm.target.Target("llvm")), tvm.cpu())
np.testing.assert_array_equal(theirs["main"](tvm.runtime.tensor(images[:1])).numpy(), ours)
noise = ours - network(torch.from_numpy(images[:1])).detach().numpy()
print("noise", np.square(noise).mean() / np.square(ours).mean())
"""


def test_example(tmp_path):
    """It runs, all of it in integers, and TVM's own pipeline makes the same of the module."""
    code, planned = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/quantizer.md").read_text(), re.DOTALL
    )
    (tmp_path / "example.py").write_text(code + COMPARE + planned)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "example.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    coverage, noise = done.stdout.splitlines()
    assert eval(coverage)["integer_macs"] == eval(coverage)["macs"] > 0
    assert float(noise.removeprefix("noise ")) < 0.05
    assert (tmp_path / "network.so").stat().st_size > 0
    assert plan.read(tmp_path / "plan.json") == {"conv1": (8, 8), "fc": (2, 6)}
