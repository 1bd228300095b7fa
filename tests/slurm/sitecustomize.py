"""Lets a Snakemake that sends jobs to a cluster ask of them every three seconds.

By itself it waits ten seconds longer after each answer that tells of nothing finished, which the
short jobs of tests would spend most of their time on. Python imports this file where it is found
on its path.
"""

import asyncio
import sys

if sys.orig_argv[1:3] == ["-m", "snakemake"] and "--workflow-profile" in sys.orig_argv:
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    async def _sleep(self):
        # Above what the profile's rate enforces: nearly all of the time nothing is being asked, as
        # in real runs, so that outages begin then.
        await asyncio.sleep(3)

    RemoteExecutor.sleep = _sleep
