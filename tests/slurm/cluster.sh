#!/usr/bin/env bash
# A real Slurm cluster of one node, for the checks that need one. Run as root.
#
#   cluster.sh install                  install Slurm and munge (Debian 12 or alike)
#   cluster.sh start DIRECTORY          bring a cluster up; prints SLURM_CONF=...
#   cluster.sh outage-begin DIRECTORY   stop slurmctld only; running jobs go on
#   cluster.sh outage-end DIRECTORY     start slurmctld again with the state it had
#   cluster.sh stop DIRECTORY           end all jobs and all daemons
#
# Everything lies below DIRECTORY, the munge key and socket too, so a Slurm or a
# munge that the machine has of its own stays untouched. Only while the cluster
# runs does /etc/slurm/slurm.conf link to its configuration. A start begins with
# an empty queue.
set -euo pipefail
umask 022

die() { echo "cluster.sh: $*" >&2; exit 1; }
usage() { sed -n '4,8s/^# *//p' "$0" >&2; exit 2; }

within() {    # within SECONDS COMMAND...: until the command succeeds
    local tries=$(($1 * 10))
    shift
    until "$@"; do
        ((tries-- > 0)) || return 1
        sleep 0.1
    done
}

install_packages() {
    local missing=() package policy=/usr/sbin/policy-rc.d
    for package in slurmctld slurmd slurm-client munge; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null |
            grep -q '^install ok installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ ! -e "$policy" ]; then     # 101 keeps the packages from starting daemons
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "${missing[@]}" > /dev/null
}

# A process that has ended has no exe, even where a container's first process
# never collects it.
ended() { ! readlink -q "/proc/$1/exe" > /dev/null; }

# The process id of a daemon of this cluster, or failure where it does not run;
# by then the number in the file can belong to another program.
pid_of() {
    local pid
    pid=$(cat "$dir/$1.pid" 2>/dev/null) && ! ended "$pid" &&
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] && echo "$pid"
}
runs() { pid_of "$1" > /dev/null; }

end_daemon() {
    local pid
    if pid=$(pid_of "$1"); then
        kill "$pid" 2>/dev/null || true
        within 10 ended "$pid" || kill -9 "$pid" 2>/dev/null || true
        within 5 ended "$pid" || die "$1 (process $pid) does not end"
    fi
    rm -f "$dir/$1.pid"
}

start_failed() {    # SENTENCE DAEMON
    echo "cluster.sh: $1; the end of $dir/log/$2.log:" >&2
    tail -n 15 "$dir/log/$2.log" >&2 || true
    stop
    exit 1
}

start_daemon() {    # NAME ARGUMENT...: each goes to the background by itself
    setsid "$@" < /dev/null >> "$dir/log/$1.log" 2>&1 && within 10 runs "$1" ||
        start_failed "$1 did not start" "$1"
}

node_is_idle() { [ "$(timeout 5 sinfo -h -p work -o %T 2>/dev/null)" = idle ]; }

write_configuration() {
    local cpus memory host port ports=()
    cpus=$(env -u OMP_NUM_THREADS nproc)  # which else are as many as that says
    memory=$(awk '/^MemTotal/ {print int($2 / 1024) - 1024}' /proc/meminfo)
    host=$(hostname -s)
    for port in $(shuf -i 20000-30000 -n 20); do    # free is what refuses a connection
        (: < "/dev/tcp/127.0.0.1/$port") 2>/dev/null || ports+=("$port")
    done
    cat > "$SLURM_CONF" <<END
ClusterName=$cluster
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=root
AuthInfo=socket=$dir/munge/socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=300
KillWait=5
OverTimeLimit=0
# Other job ids than the last cluster's, so that an old id never names a new job.
FirstJobId=$(($(date +%s) % 600000 * 100 + 1))
# Without this a job that asks for no memory takes all of the node's.
DefMemPerCPU=$((memory / cpus))
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory
PartitionName=work Nodes=ALL Default=YES MaxTime=INFINITE
PartitionName=benchmark Nodes=ALL MaxTime=INFINITE OverSubscribe=EXCLUSIVE
END
}

# The plugin's job steps drop SLURM_CONF, so that their srun reads the default place.
default=/etc/slurm/slurm.conf
link() {
    [ ! -e "$default" ] || die "$default exists: this machine has a Slurm of its own"
    mkdir -p "${default%/*}"
    ln -sfn "$SLURM_CONF" "$default"
}
unlink_ours() { [ "$(readlink "$default")" != "$SLURM_CONF" ] || rm -f "$default"; }

start() {
    local name
    for name in munged slurmctld slurmd; do
        command -v "$name" > /dev/null || die "$name is missing; run: $0 install"
        ! runs "$name" || die "a cluster runs in $dir already; stop it first"
    done
    [ -z "$(ls -A "$dir" 2>/dev/null)" ] || grep -qsx "ClusterName=$cluster" "$SLURM_CONF" ||
        die "$dir is neither empty nor an earlier cluster's; name another DIRECTORY"
    unlink_ours
    link
    mkdir -p "$dir"
    rm -rf "$dir"/{log,munge,state,spool}
    mkdir "$dir"/{log,munge,state,spool}
    (umask 077; head -c 1024 /dev/urandom > "$dir/munge/key")
    write_configuration
    # --force: munged refuses a DIRECTORY below a group-writable one otherwise.
    start_daemon munged --force --key-file="$dir/munge/key" \
        --socket="$dir/munge/socket" --pid-file="$dir/munged.pid" \
        --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed"
    start_daemon slurmctld
    start_daemon slurmd
    within 30 node_is_idle || start_failed "the node did not become idle" slurmctld
    echo "SLURM_CONF=$SLURM_CONF"
}

# What belongs to jobs: what Slurm tracks, slurmstepd itself, which works in the
# log's folder, and what has the cluster's name in its environment, where slurmd
# puts it for a job.
job_processes() {
    local process
    timeout 5 scontrol listpids 2>/dev/null | awk '$1 ~ /^[0-9]+$/ && $1 > 1 {print $1}' || true
    for process in $(grep -lsx slurmstepd /proc/[0-9]*/comm | cut -d / -f 3); do
        [ ! "/proc/$process/cwd" -ef "$dir/log" ] || echo "$process"
    done
    grep -lzsx "SLURM_CLUSTER_NAME=$cluster" /proc/[0-9]*/environ | cut -d / -f 3 || true
}
no_jobs() { [ -z "$(timeout 5 squeue -h 2>/dev/null)" ]; }
jobs_killed() {
    local pids
    mapfile -t pids < <(job_processes)
    [ ${#pids[@]} -eq 0 ] || { kill -9 "${pids[@]}" 2>/dev/null || true; return 1; }
}

stop() {
    if runs slurmctld && runs munged; then
        timeout 10 squeue -h -o %A 2>/dev/null | timeout 10 xargs -r scancel --quiet || true
        within 10 no_jobs || true    # a job has KillWait seconds to end by itself
    fi
    end_daemon slurmctld
    end_daemon slurmd
    within 10 jobs_killed || die "processes of jobs do not end: $(job_processes | xargs)"
    end_daemon munged
    unlink_ours
}

case $#${1:-} in
    1install | 2start | 2stop | 2outage-begin | 2outage-end) ;;
    *) usage ;;
esac
[ "$(id -u)" = 0 ] || die "must run as root"
[ "$1" != install ] || { install_packages; exit; }

dir=${2%/}
[[ $dir =~ ^/[A-Za-z0-9._/-]+$ ]] || die "DIRECTORY must be an absolute path of plain characters"
# The kernel takes 107 characters for a socket's path, and slurmd appends its own names.
[ ${#dir} -le 60 ] || die "DIRECTORY must not be longer than 60 characters"
cluster=bitsweep$(printf %s "$dir" | cksum | cut -d ' ' -f 1)
export SLURM_CONF=$dir/slurm.conf

case $1 in
    start) start ;;
    stop) stop ;;
    outage-begin) end_daemon slurmctld ;;
    outage-end)
        runs slurmd || die "no cluster runs in $dir"
        runs slurmctld || start_daemon slurmctld
        timeout 30 squeue -h > /dev/null || die "slurmctld does not answer; see $dir/log/slurmctld.log" ;;
esac
