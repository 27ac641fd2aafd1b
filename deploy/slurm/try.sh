#!/usr/bin/env bash
# Tries t2v.sbatch on a real Slurm of one machine: a run is preempted, queued again and continued, and ends with the same bytes as an
# undisturbed run. Needs root and Debian's slurm-wlm (apt-get install slurm-wlm); takes about five minutes, most of them Slurm's own pause
# before a requeued job may start.
#
#     sudo deploy/slurm/try.sh [--bin .build/release] [--epochs N]
#
# The Slurm daemons are this script's own: other ports, folders below a temporary one, ended with it. Nothing in /etc is changed.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
bin=$top/.build/release
epochs=20
while [ $# -gt 0 ]; do
    case $1 in
        --bin) bin=$(cd "$2" && pwd); shift 2 ;;
        --epochs) epochs=$2; shift 2 ;;
        *) echo "error: unknown argument $1; see the head of $0" >&2; exit 2 ;;
    esac
done
[ "$(id -u)" = 0 ] || { echo "error: Slurm's daemons need root; run it with sudo" >&2; exit 2; }
for tool in slurmctld slurmd munged sbatch; do
    command -v $tool > /dev/null || { echo "error: $tool is missing; apt-get install slurm-wlm munge" >&2; exit 2; }
done
[ -x "$bin/t2v-coordinator" ] || { echo "error: no t2v-coordinator in $bin; run make build" >&2; exit 2; }

work=$(mktemp -d /tmp/t2v-slurm-XXXXXX)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
    wait 2> /dev/null || true
    [ "${keep:-no}" = yes ] || rm -rf "$work"
}
trap finish EXIT
fail() { keep=yes; echo "FAILED: $*; files in $work" >&2; exit 1; }

# Daemons -------------------------------------------------------------------------------------------------------------------------
mkdir -p "$work"/{munge,state,spool,log}
chmod 755 "$work"
dd if=/dev/urandom of="$work/munge/key" bs=128 count=1 status=none
chmod 600 "$work/munge/key"
munged --foreground --key-file "$work/munge/key" --socket "$work/munge/socket" --pid-file "$work/munge/pid" \
    --log-file "$work/munge/log" --seed-file "$work/munge/seed" --force > "$work/log/munged" 2>&1 &
pids+=($!)
host=$(hostname -s)
cpus=$(nproc)
cat > "$work/slurm.conf" << END
ClusterName=t2vtry
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/log/slurmctld
SlurmdLogFile=$work/log/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5
JobRequeue=1
ReturnToService=2
KillWait=10
# A job of the high partition takes the place of one of the low partition, which gets SIGTERM, 15 s, and a place in the queue.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=low Nodes=$host PriorityTier=1 PreemptMode=REQUEUE GraceTime=15 Default=YES State=UP
PartitionName=high Nodes=$host PriorityTier=10 PreemptMode=OFF State=UP
END
export SLURM_CONF=$work/slurm.conf
sleep 1
slurmctld -D -f "$SLURM_CONF" > "$work/log/slurmctld.out" 2>&1 &
pids+=($!)
slurmd -D -f "$SLURM_CONF" -N "$host" > "$work/log/slurmd.out" 2>&1 &
pids+=($!)
for _ in $(seq 60); do sinfo -h -o %T 2> /dev/null | grep -q idle && break; sleep 1; done
sinfo -h -o %T | grep -q idle || fail "Slurm does not start"
echo "ok: $(sinfo --version) runs on $host with $cpus cpus"

# Runs ----------------------------------------------------------------------------------------------------------------------------
texts=$top/demo/texts.jsonl model=$top/demo/vectors
options=(--n-iter "$epochs" --lanes 4 --cache "$work/cache")
"$bin/t2v-coordinator" pretrain "$texts" "$model" "$work/undisturbed" "${options[@]}" --workers 1 > "$work/log/undisturbed" 2>&1 \
    || fail "the undisturbed run"
started=$(date +%s)
export T2V_BIN=$bin
job=$(sbatch --parsable --partition=low --nodes=1 --cpus-per-task="$cpus" --overcommit --output="$work/log/job" --chdir="$work" \
    "$top/deploy/slurm/t2v.sbatch" "$texts" "$model" "$work/out" "${options[@]}" --min-workers 1 --checkpoint-every 1000)
for _ in $(seq 300); do [ -e "$work/out/model1.bin" ] && break; sleep 0.2; done
[ -e "$work/out/model1.bin" ] || fail "the job does not train"
[ ! -e "$work/out/model$((epochs - 1)).bin" ] || fail "the run was over before it could be preempted; give more --epochs"
echo "ok: job $job trains"
high=$(sbatch --parsable --partition=high --cpus-per-task="$cpus" --output=/dev/null --chdir="$work" --wrap="sleep 5")
for _ in $(seq 120); do grep -q "queued again" "$work/log/job" && break; sleep 0.5; done
grep -q "stopped with status 75; queued again" "$work/log/job" || fail "the preempted job was not queued again"
echo "ok: the preempted job wrote its checkpoint, ended with status 75 and was queued again"
for _ in $(seq 120); do [ "$(squeue -h -j "$high" -o %T 2> /dev/null)" = "" ] && break; sleep 1; done
# Slurm lets a requeued job wait two minutes.
for _ in $(seq 400); do grep -q "the run is complete" "$work/log/job" && break; sleep 1; done
grep -q "start 1" "$work/log/job" && grep -q "the run is complete" "$work/log/job" || fail "the job did not continue"
echo "ok: it continued and is complete, $(($(date +%s) - started)) s after it was queued"
for file in "$work"/undisturbed/model*.bin "$work/undisturbed/log.jsonl"; do
    cmp "$file" "$work/out/$(basename "$file")" || fail "$(basename "$file") differs"
done
echo "ok: $(ls "$work"/out/model*.bin | wc -l) model files and the log are the same, byte by byte, as without preemption"

# A job that is cancelled stays cancelled.
job=$(sbatch --parsable --partition=low --cpus-per-task="$cpus" --overcommit --output="$work/log/cancelled" --chdir="$work" \
    "$top/deploy/slurm/t2v.sbatch" "$texts" "$model" "$work/cancelled" "${options[@]}" --n-iter 1000)
for _ in $(seq 300); do [ -e "$work/cancelled/model0.bin" ] && break; sleep 0.2; done
scancel "$job"
for _ in $(seq 60); do squeue -h -j "$job" -o %T 2> /dev/null | grep -q . || break; sleep 1; done
[ -z "$(squeue -h -j "$job" -o %T 2> /dev/null)" ] || fail "the cancelled job is $(squeue -h -j "$job" -o %T)"
grep -q "queued again" "$work/log/cancelled" && fail "the cancelled job was queued again"
ls "$work"/cancelled/t2v/checkpoints/* > /dev/null || fail "the cancelled job left no checkpoint"
echo "ok: a cancelled job leaves a checkpoint and is not queued again"
