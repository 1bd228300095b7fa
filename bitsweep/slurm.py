"""Patience while Slurm's controller is away, as for an upgrade: what the executor plugin lacks."""

from types import ModuleType

# A Snakemake that is gone meanwhile submits nothing more.
_ONCE_IT_ANSWERS = "until scontrol ping > /dev/null 2>&1; do sleep 5; kill -0 $PPID || exit; done; "
_LONG_ENOUGH_SECONDS = 3600


def have_patience(plugin: ModuleType) -> None:
    """Make the module `snakemake_executor_plugin_slurm` wait for the controller.

    By itself it fails a job whose submission is not answered within seconds. And a controller that
    does not say for how long it remembers jobs it asks nothing more, but `sacct`, in vain and for
    hours where there is no accounting.
    """
    submit, remembered_seconds = plugin.get_submit_command, plugin.get_min_job_age
    plugin.get_submit_command = lambda *job, **more: _ONCE_IT_ANSWERS + submit(*job, **more)
    plugin.get_min_job_age = lambda: remembered_seconds() or _LONG_ENOUGH_SECONDS
