"""SIGTERM, by which clusters and users end Snakemake, and what Snakemake 9.27 makes of it."""

from bitsweep import upstream


def mend(scheduler: type) -> None:
    """Let the class `JobScheduler` take SIGTERM at any time.

    Its handler asks for a lock which the thread that it interrupts may hold itself: then Snakemake
    waits for ever.
    """
    if not upstream.fits("snakemake", "9.27.1", {scheduler.exit_gracefully: ("self", "args")}):
        return

    def exit_gracefully(self, *_) -> None:
        self._user_kill = "graceful"
        self._open_jobs.release()

    scheduler.exit_gracefully = exit_gracefully
