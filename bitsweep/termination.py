"""SIGTERM, by which clusters and users end Snakemake, and what Snakemake 9.27 makes of it."""


def mend(scheduler: type) -> None:
    """Let the class `JobScheduler` take SIGTERM at any time.

    Its handler asks for a lock which the thread that it interrupts may hold itself: then Snakemake
    waits for ever.
    """

    def exit_gracefully(self, *_) -> None:
        self._user_kill = "graceful"
        self._open_jobs.release()

    scheduler.exit_gracefully = exit_gracefully
