import signal
import threading

from snakemake.scheduling.job_scheduler import JobScheduler

from bitsweep.termination import mend


def test_sigterm_is_taken_while_the_scheduler_holds_its_lock():
    class Mended(JobScheduler):
        def __init__(self):
            self._lock = threading.Lock()
            self._open_jobs = threading.Semaphore(0)
            self._user_kill = None

    mend(Mended)
    scheduler = Mended()
    previous = signal.signal(signal.SIGTERM, scheduler.exit_gracefully)
    try:
        with scheduler._lock:
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert scheduler._user_kill == "graceful"
    assert scheduler._open_jobs.acquire(blocking=False)
