"""What the executor plugin for Slurm lacks: patience with a controller that is away, as for an
upgrade, and an end for jobs of which Slurm will never say one.
"""

from collections.abc import Callable
from types import ModuleType

from bitsweep import upstream

# A Snakemake that is gone meanwhile submits nothing more.
_ONCE_IT_ANSWERS = "until scontrol ping > /dev/null 2>&1; do sleep 5; kill -0 $PPID || exit; done; "
_LONG_ENOUGH_SECONDS = 3600


def mend(plugin: ModuleType) -> None:
    """Make the module `snakemake_executor_plugin_slurm` wait for the controller, and no longer.

    By itself it fails a job whose submission is not answered within seconds. A controller that does
    not say for how long it remembers jobs it asks nothing more, but `sacct`, in vain and for hours
    where there is no accounting. And it waits for ever for a job that ended and was forgotten
    before it asked.
    """
    taken = {
        plugin.get_submit_command: ("job", "params", "settings", "failed_nodes", "array_job"),
        plugin.get_min_job_age: (),
        plugin.query_job_status: ("command", "logger"),
        plugin.Executor.check_active_jobs: ("self", "active_jobs"),
    }
    if not upstream.fits("snakemake-executor-plugin-slurm", "2.8.0", taken):
        return
    submit, remembered_seconds = plugin.get_submit_command, plugin.get_min_job_age
    plugin.get_submit_command = lambda *job, **more: _ONCE_IT_ANSWERS + submit(*job, **more)
    plugin.get_min_job_age = lambda: remembered_seconds() or _LONG_ENOUGH_SECONDS
    active: set[str] = set()
    plugin.query_job_status = _with_every_end(plugin.query_job_status, active)
    plugin.Executor.check_active_jobs = _remembering(plugin.Executor.check_active_jobs, active)


def _remembering(check: Callable, active: set[str]) -> Callable:
    """Before the state of jobs is asked for, let `active` be their numbers."""

    async def check_active_jobs(executor, jobs):
        active.clear()
        active.update(job.external_jobid for job in jobs)
        async for job in check(executor, jobs):
            yield job

    return check_active_jobs


def _with_every_end(query: Callable, active: set[str]) -> Callable:
    """Let an answer tell the end of every job that has ended, in words that the plugin knows.

    `squeue` lists a job from its submission on until it is forgotten; one that is not listed has
    failed as far as anybody can tell, and is to be submitted again. `sacct` says who cancelled a
    job, which the plugin takes for a job that runs.
    """

    async def query_job_status(command, logger):
        states, seconds = await query(command, logger)
        if states is not None:
            states = {number: state.partition(" ")[0] for number, state in states.items()}
            if command.startswith("squeue"):
                # The tasks of an array that are pending are listed as one.
                numbers = {number for number in active if number.isdigit()}
                states |= dict.fromkeys(numbers - states.keys(), "FAILED")
        return states, seconds

    return query_job_status
