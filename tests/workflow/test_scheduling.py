"""How often Snakemake looks for jobs to start."""

from tests.workflow.checkout import DIGITS


def test_snakemake_looks_for_jobs_to_start_when_one_has_ended_and_not_ever_more_often(
    bare, tmp_path
):
    checkout = bare.copy(tmp_path / "bit sweep")
    stand_in = checkout.path("stand_in.sh")
    stand_in.write_text('sleep 0.3; touch "${snakemake_output[@]}"\n')
    ended = checkout.done("--verbose", config={**DIGITS, "stand_in": str(stand_in)})
    jobs = ended.output.count("Finished jobid")
    assert jobs > 40
    # One that has ended is told by itself, and by its executor's thread.
    assert ended.output.count("Resources before job selection") <= 2 * jobs + 2
