#!/usr/bin/env bash
# Whether a job of Slurm is running, a success or failed. A job that Slurm has forgotten has failed,
# so that it is submitted again: nobody waits for it for ever.
set -u
job=$1

# What the accounting remembers of a job, where there is one.
accounted() { sacct --noheader --allocations --format=State%20 --jobs="$job" 2> /dev/null | tr -d ' \n'; }

for _ in $(seq 720); do
    # Finished jobs too, as long as the controller remembers them.
    if ! state=$(squeue --noheader --states=all --format=%T --jobs="$job" 2>&1); then
        [[ $state == *"Invalid job id"* ]] || { sleep 5; continue; } # the controller does not answer
        state=
    fi
    case ${state:-$(accounted)} in
        COMPLETED) echo success ;;
        PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | STOPPED | RESIZING | SIGNALING | \
            STAGE_OUT | REQUEUED | REQUEUE_HOLD | REQUEUE_FED | SPECIAL_EXIT) echo running ;;
        *) echo failed ;;
    esac
    exit
done
echo running
