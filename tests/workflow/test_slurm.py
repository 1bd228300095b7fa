"""On a real Slurm: a sweep, the quiet of its benchmarks, and what goes wrong on clusters."""

import json
import platform
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations, pairwise

import pandas as pd
import psutil
import pytest

from bitsweep import machine, outcome, tables
from tests.workflow.checkout import ROOT, Run, eventually, running
from tests.workflow.disk import AMPLE_BYTES, NO_SPACE, mounted, run_on_full
from tests.workflow.slurm import OnSlurm, cancel, jobs, rename, submit

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm", "nothing_left_in_slurm")]

PRECISIONS = ("float32", "int8", "int4")
SWEEP = {
    "sweep": {"models": ["digits"], "engines": ["relay"], "precisions": [*PRECISIONS]},
    "sensitivity": {"precisions": []},
    "limits": {"memory_mb": 2000},
}
FLOAT32, INT8 = "results/digits/relay/cpu/float32", "results/digits/relay/cpu/int8"
REFUSED = ("digits", "relay", "cpu", "int4")
STATUS = ROOT / "profiles/slurm-generic/status.sh"
ENDED = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY"}


@pytest.fixture
def nothing_left_in_slurm(slurm):
    yield
    cancel()
    eventually(lambda: all(job.state in ENDED for job in jobs()), "Slurm to be empty")


@pytest.fixture(scope="module")
def swept(slurm, tmp_path_factory):
    """A copy in which the sweep ran from nothing on Slurm, not to be changed."""
    checkout = OnSlurm.of_the_repository(tmp_path_factory.mktemp("slurm") / "bit sweep")
    checkout.done(config=SWEEP)
    return checkout


@pytest.fixture
def again(swept, tmp_path):
    """A copy of the finished sweep for one test to change."""
    return swept.copy(tmp_path / "bit sweep")


def summary(checkout):
    table = tables.read_summary(checkout.path("results/tables/summary.csv"))
    return table.set_index(list(outcome.KEYS))


def latencies(checkout):
    """What was measured of the precisions that TVM does not refuse."""
    written = [path.read_text() for path in checkout.path("results").rglob("latency.json")]
    return [json.loads(text) for text in written if text]


def states(checkout, comment):
    """What became of the jobs of this comment, one after the other."""
    return [job.state for job in checkout.jobs() if job.comment == comment]


def undone(checkout, *paths):
    """Remove outcomes, as if their stages had never run."""
    for path in paths:
        checkout.path(path).unlink()


def assert_whole(checkout, *targets):
    """Every artifact is as its stage left it, nothing temporary is left, nothing is to be done."""
    results = checkout.path("results")
    for path in results.rglob("*.json"):
        if path.stem in outcome.STAGES:
            for artifact in outcome.read(path).artifacts:
                assert outcome.sha256(checkout.path(artifact.path)) == artifact.sha256
    assert [path for path in results.rglob(".*")] == []
    assert checkout.stale("--", *targets, config=SWEEP) == set()


# The sweep


def test_the_tables_are_those_of_a_local_run(swept, finished):
    on_slurm, locally = summary(swept), summary(finished)
    differing = (
        r"^latency_|^speedup_|_seconds$|^peak_rss_bytes$|^threads$|^node$|^partition$|^cpu_mhz$"
        r"|^explanation$|^disturbed$|^stopped_by_budget$|^load_before$|^(?:steal|others)_percent$"
        r"|^(?:ir|params|llvm_ir|objects)_bytes$"  # varies with where in memory TVM has objects
    )
    kept = on_slurm.columns[~on_slurm.columns.str.contains(differing)]
    pd.testing.assert_frame_equal(on_slurm[kept], locally.loc[on_slurm.index, kept])
    assert on_slurm["failed_stage"].dropna().to_dict() == {REFUSED: "compile"}


def test_the_artifacts_are_those_of_a_local_run(swept, finished):
    same = ("*.npz", "*.txt", "module.s", "module.so", "model.json", "quality.json")
    paths = [path for name in same for path in swept.path("results").rglob(name)]
    assert {path.suffix for path in paths} == {".npz", ".txt", ".s", ".so", ".json"}
    for path in paths:
        local = finished.path(path.relative_to(swept.folder))
        assert outcome.sha256(path) == outcome.sha256(local), path


def test_an_experiment_is_two_jobs_which_succeed_whatever_tvm_refuses(swept):
    assert swept.outcome("digits/relay/cpu/int4/compile").state == "failed"
    assert {job.state for job in swept.jobs()} == {"COMPLETED"}
    assert Counter(job.comment for job in swept.jobs()) == Counter(
        {
            "rule_train_wildcards_digits": 1,
            "rule_trace_wildcards_digits": 1,
            **{f"rule_{rule}_wildcards_digits_relay": 1 for rule in ("import", "calibrate")},
            "rule_experiment_compile_evaluate_export_quantize": len(PRECISIONS),
            **{
                f"rule_{rule}_wildcards_digits_relay_cpu_{precision}": 1
                for rule in ("benchmark", "profile")
                for precision in PRECISIONS
            },
            "rule_peaks": 1,
            "rule_inspections_inspect": 1,
        }
    )


def test_a_benchmark_tells_where_it_was_taken(swept):
    for measured in latencies(swept):
        told = measured["machine"]
        assert (told["node"], told["partition"]) == (platform.node().split(".")[0], "work")
        assert told["cpu_model"] == machine.read_cpuinfo().model
        assert measured["threads"] == machine.cores_allowed()


def test_nothing_else_runs_on_a_node_during_a_benchmark(swept):
    times = [[datetime.fromisoformat(m[t]) for t in ("start", "end")] for m in latencies(swept)]
    assert len(times) == 2
    assert all(one_end < other_start for (_, one_end), (other_start, _) in pairwise(sorted(times)))
    for one, other in combinations(swept.jobs(), 2):
        if "rule_benchmark" in one.comment + other.comment:
            assert one.end <= other.start or other.end <= one.start, (one, other)


# Jobs that Slurm refuses or kills

NETWORKS = '''
import time
from pathlib import Path
from torch import nn

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))

def stuck(name):
    """Hangs, but not when it is tried again."""
    began = Path(f"{name} began")
    if not began.exists():
        began.touch()
        time.sleep(600)
    return network()

def slow():
    return stuck("slow")

def cancelled():
    return stuck("cancelled")

def greedy():
    held = b"x" * (1500 * 2**20)
    time.sleep(6)  # Slurm looks every two seconds
    return network()
'''
OWN = {
    **{name: {"factory": f"own_networks:{name}"} for name in ("slow", "cancelled", "greedy")},
    "refused": {"factory": "own_networks:network"},
    "always_refused": {"factory": "own_networks:network"},
    "always_greedy": {"factory": "own_networks:greedy"},
}
LACKING = (
    "trace:runtime=1 if wildcards.model == 'slow' and attempt == 1 else 20",
    "trace:mem_mb=1500 if wildcards.model == 'always_greedy' else 1500 * attempt",
    "trace:slurm_partition='nowhere' if wildcards.model == 'always_refused'"
    " or (wildcards.model == 'refused' and attempt == 1) else 'work'",
)


def own_networks(folder):
    """A copy with networks that hang or want much memory, and a config with them."""
    checkout = OnSlurm.of_the_repository(folder)
    checkout.path("own_networks.py").write_text(NETWORKS)
    tiny = {"input_shape": [1, 4, 4], "data": "random", "images": 2, "calibration_images": 2}
    models = {name: {**model, "weights": "seeded", **tiny} for name, model in OWN.items()}
    return checkout, {"models": models, "sweep": {"models": list(models)}}


@pytest.fixture(scope="module")
def tried_twice(slurm, tmp_path_factory):
    """A run in which each job lacks something, at its first of two attempts or at both."""
    checkout, config = own_networks(tmp_path_factory.mktemp("lacking") / "bit sweep")
    arguments = ["--retries", "1", "--set-threads", "trace=1", "--set-resources", *LACKING, "--"]
    arguments += [f"results/{model}/trace.json" for model in OWN]
    with running(checkout, *arguments, config=config) as snakemake:
        eventually(checkout.path("cancelled began").exists, "the job to cancel to be at work")
        cancel(*(job.number for job in checkout.jobs() if job.comment.endswith("_cancelled")))
        return checkout, checkout.finish(snakemake)


@pytest.mark.parametrize(
    ("model", "ends"),
    [
        ("refused", ["COMPLETED"]),
        ("cancelled", ["CANCELLED", "COMPLETED"]),
        ("slow", ["TIMEOUT", "COMPLETED"]),
        ("greedy", ["FAILED", "COMPLETED"]),
    ],
)
def test_a_job_that_slurm_ended_is_submitted_again(tried_twice, model, ends):
    checkout, _ = tried_twice
    assert states(checkout, f"rule_trace_wildcards_{model}") == ends
    assert checkout.outcome(f"{model}/trace").state == "ok"


def test_a_job_that_fails_for_good_is_named_with_its_log(tried_twice):
    checkout, ended = tried_twice
    assert ended.returncode != 0
    comment = "rule_trace_wildcards_always_greedy"
    first, last = (job for job in checkout.jobs() if job.comment == comment)
    assert (first.state, last.state) == ("FAILED", "FAILED")
    log = checkout.path(f".snakemake/slurm_logs/rule_trace/always_greedy/{last.number}.log")
    assert "exceeded memory limit" in log.read_text()
    told = [line.strip() for line in ended.output.splitlines()]
    assert f"message: SLURM-job '{last.number}' failed, SLURM status is: 'FAILED'." in " ".join(
        told
    )
    assert [line for line in told if line.startswith("log: ") and str(log) in line]
    assert not checkout.path("results/always_greedy/trace.json").exists()


def test_a_job_that_slurm_never_takes_is_named_with_slurms_reason(tried_twice):
    checkout, ended = tried_twice
    assert states(checkout, "rule_trace_wildcards_always_refused") == []
    assert ended.output.count("sbatch: error: invalid partition specified: nowhere") == 3
    assert not checkout.path("results/always_refused/trace.json").exists()


# Memory: Slurm's limit and TVM's


def test_a_job_killed_for_its_memory_says_nothing_about_tvm(again):
    target = f"{INT8}/compile.json"
    # Between what the job needs before TVM compiles, 340 MB, and what it then needs, 480 MB.
    short = ("--set-resources", "compile:mem_mb=400", "--retries", "0")
    ended = again.run("--forcerun", target, *short, "--", target, config=SWEEP)
    assert ended.returncode != 0
    (killed,) = again.jobs()
    assert killed.state == "FAILED"
    assert f"{killed.number}.log" in ended.output
    assert not again.path(target).exists()
    assert not again.path(f"{INT8}/objects.tar").exists()
    again.done("--", target, config=SWEEP)
    assert_whole(again, target)
    assert again.outcome("digits/relay/cpu/int8/compile").state == "ok"


def test_tvm_above_the_configs_limit_is_an_outcome_and_its_job_a_success(again):
    target = f"{INT8}/quantize.json"
    limited = {**SWEEP, "limits": {"memory_mb": 40}}
    again.done("--forcerun", target, "--", target, config=limited)
    error = again.outcome("digits/relay/cpu/int8/quantize").error
    assert (error.kind, error.message) == ("memory", "stopped above 40 MiB")
    assert [job.state for job in again.jobs()] == ["COMPLETED"]


# The controller is away


@dataclass(frozen=True)
class Outage:
    back: datetime
    halfway: tuple[OnSlurm, Run]
    begun: dict[str, tuple[OnSlurm, Run]]
    status: str


@pytest.fixture(scope="module")
def outage(slurm, swept, tmp_path_factory):
    """What was under way through 45 s without a controller, and when it was back.

    A copy whose job lost it halfway, a copy for each profile whose Snakemake began without it, what
    they printed, and what the status script said of a complete job that it was asked about then.
    """
    halfway = swept.copy(tmp_path_factory.mktemp("halfway") / "bit sweep")
    undone(halfway, *(f"{FLOAT32}/{stage}.json" for stage in ("compile", "export")))
    complete = submit("true")
    with ExitStack() as stack:
        export = f"{FLOAT32}/export.json"
        first = stack.enter_context(running(halfway, "--", export, config=SWEEP))
        eventually(halfway.worker, "compilation to begin")
        begun = {}
        with slurm.outage():
            for profile in ("slurm", "slurm-generic"):
                checkout, own = own_networks(tmp_path_factory.mktemp("begun") / "bit sweep")
                checkout = replace(checkout, options=("--workflow-profile", f"profiles/{profile}"))
                traced = ("--set-threads", "trace=1", "--", "results/refused/trace.json")
                snakemake = stack.enter_context(running(checkout, *traced, config=own))
                begun[profile] = checkout, snakemake
            asking = subprocess.Popen([STATUS, str(complete)], stdout=subprocess.PIPE, text=True)
            time.sleep(45)
            assert asking.poll() is None
            back = datetime.now()
        yield Outage(
            back=back,
            halfway=(halfway, halfway.finish(first)),
            begun={name: (folder, folder.finish(run)) for name, (folder, run) in begun.items()},
            status=asking.communicate()[0],
        )


def test_a_job_that_lost_the_controller_is_submitted_again_with_more_memory_and_time(outage):
    checkout, ended = outage.halfway
    assert ended.returncode == 0, ended.output
    lost, again = checkout.jobs()
    assert (lost.state, again.state) == ("FAILED", "COMPLETED")
    assert (lost.memory, again.memory) == ("3000M", "6000M")
    assert (lost.minutes, again.minutes) == ("1:10:00", "2:20:00")
    assert_whole(checkout, f"{FLOAT32}/export.json")


@pytest.mark.parametrize("profile", ["slurm", "slurm-generic"])
def test_submitting_waits_for_the_controller(outage, profile):
    checkout, ended = outage.begun[profile]
    assert ended.returncode == 0, ended.output
    assert "Trying to restart" not in ended.output
    (job,) = checkout.jobs()
    assert job.start >= outage.back.replace(microsecond=0)


def test_the_status_script_waits_for_the_controller(outage):
    assert outage.status == "success\n"


def test_a_job_that_slurm_has_forgotten_is_submitted_again(again):
    """It ends and is forgotten while nobody asks. As if forgotten: it has another name by then."""
    target = f"{FLOAT32}/compile.json"
    undone(again, target)
    with running(again, "--", target, config=SWEEP) as snakemake:
        eventually(again.worker, "compilation to begin")
        process = psutil.Process(snakemake.pid)
        process.suspend()
        (job,) = again.jobs()
        rename(job.number, "forgotten")
        eventually(lambda: again.jobs()[0].state == "COMPLETED", "the job to end")
        process.resume()
        ended = again.finish(snakemake)
    assert ended.returncode == 0, ended.output
    assert [job.state for job in again.jobs()] == ["COMPLETED", "COMPLETED"]
    assert_whole(again, target)


# Disks


def test_a_disk_that_becomes_full_fails_the_job_in_one_sentence(again):
    target = f"{INT8}/quantize.json"
    with mounted(again.path("results")) as disk:
        options = ("--retries", "0")
        ended = run_on_full(disk, 0, again, "quantize", target, *options, config=SWEEP)
        assert ended.returncode != 0
        (failed,) = again.jobs()
        (log,) = again.path(".snakemake/slurm_logs").glob(f"*/{failed.number}.log")
        sentence = f"Error: quantize: {NO_SPACE.format(disk.folder)}"
        assert sentence in log.read_text().splitlines()
        assert str(log) in ended.output
        assert not again.path(target).exists()
        disk.leave(AMPLE_BYTES)
        again.done("--", target, config=SWEEP)
        assert_whole(again, target)


def test_nothing_is_submitted_where_results_cannot_be_written(again):
    target = f"{INT8}/inspect.json"
    undone(again, target, f"{INT8}/code.json")
    with mounted(again.path("results")) as disk:
        disk.remount("ro")
        ended = again.run("--", target, config=SWEEP)
        assert ended.returncode != 0
        sentence = "results cannot be written to: Read-only file system"
        assert sentence in ended.output.splitlines()
        assert again.jobs() == []


# Snakemake is gone


def resume(checkout):
    """The copy, whose runs go on where another was killed."""
    return replace(checkout, program=("profiles/slurm/resume.py",), options=())


def unexported(checkout):
    """Undo what follows compiling; return what is then to be made."""
    targets = f"{FLOAT32}/evaluate.json", f"{INT8}/evaluate.json", f"{INT8}/benchmark.json"
    undone(checkout, f"{FLOAT32}/export.json", f"{INT8}/export.json", *targets)
    return targets


def job_processes(checkout, numbers):
    """The processes in the copy that belong to these jobs."""
    found = []
    for process in checkout.processes():
        with suppress(psutil.NoSuchProcess):
            if process.environ().get("SLURM_JOB_ID") in map(str, numbers):
                found.append(process)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_snakemake_is_resumed(again, seed):
    targets = unexported(again)
    with running(again, "--", *targets, config=SWEEP) as snakemake:
        eventually(again.jobs, "a job to be submitted")
        time.sleep(random.Random(seed).uniform(0, 15))
        snakemake.kill()
        snakemake.wait()
        (killed,) = {job.run for job in again.jobs()}
        resumed = resume(again).start("--", *targets, config=SWEEP)
        eventually(
            lambda: {job.run for job in again.jobs()} != {killed} or resumed.poll() is not None,
            "a new job to be submitted",
        )
        orphans = [job for job in again.jobs() if job.run == killed]
        assert job_processes(again, [job.number for job in orphans]) == []
        ended = again.finish(resumed)
    assert ended.returncode == 0, ended.output
    after = [job for job in again.jobs() if job.run != killed]
    assert {job.state for job in after} <= {"COMPLETED"}
    assert all(orphan.end <= job.start for orphan in orphans for job in after)
    assert_whole(again, *targets)


def test_resuming_refuses_while_snakemake_is_alive(again):
    with running(again, "--", *unexported(again), config=SWEEP) as snakemake:
        eventually(again.jobs, "a job to be submitted")
        refused = subprocess.run(
            [sys.executable, "profiles/slurm/resume.py"],
            cwd=again.folder,
            capture_output=True,
            text=True,
        )
        assert {job.state for job in again.jobs()} <= {"PENDING", "RUNNING"}
    assert refused.returncode != 0
    assert refused.stderr == (
        f"Error: Snakemake is at work in this folder (process {snakemake.pid}); stop it first\n"
    )


# The profile for a Slurm that forgets


def test_the_generic_profile_submits_a_cancelled_job_again(again):
    generic = replace(again, options=("--workflow-profile", "profiles/slurm-generic"))
    targets = unexported(again)
    with running(generic, "--", *targets, config=SWEEP) as snakemake:
        eventually(generic.worker, "a job to be at work")
        cancel(generic.jobs()[0].number)
        ended = generic.finish(snakemake)
    assert ended.returncode == 0, ended.output
    assert sorted(job.state for job in generic.jobs()) == ["CANCELLED", *3 * ["COMPLETED"]]
    assert_whole(again, *targets)


def status(number):
    return subprocess.run([STATUS, str(number)], stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize(
    ("state", "told", "command", "options"),
    [
        ("PENDING", "running", "true", ["--hold"]),
        ("RUNNING", "running", "sleep 60", []),
        ("COMPLETED", "success", "true", []),
        ("FAILED", "failed", "false", []),
    ],
)
def test_the_status_script_tells_what_became_of_a_job(state, told, command, options):
    number = submit(command, *options)
    eventually(lambda: (number, state) in [(job.number, job.state) for job in jobs()], state)
    assert status(number) == f"{told}\n"


def test_the_status_script_takes_a_cancelled_job_for_failed():
    number = submit("true", "--hold")
    cancel(number)
    assert status(number) == "failed\n"


def test_the_status_script_takes_a_forgotten_job_for_failed():
    assert status(submit("true") + 1) == "failed\n"
