import asyncio
import logging
from types import SimpleNamespace

import snakemake_executor_plugin_slurm as plugin

from bitsweep.slurm import mend


def test_a_job_that_somebody_cancelled_is_cancelled():
    """As `sacct` tells it, which takes an accounting to run."""

    class Executor(plugin.Executor):
        pass

    mended = SimpleNamespace(**{**vars(plugin), "Executor": Executor})
    mend(mended)
    told = "printf '%s\\n' '4|COMPLETED' '5|CANCELLED by 0' '6|'"
    states, _ = asyncio.run(mended.query_job_status(told, logging.getLogger()))
    assert states == {"4": "COMPLETED", "5": "CANCELLED", "6": ""}
