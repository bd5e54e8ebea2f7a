#!/usr/bin/env bash
# shellcheck disable=SC2154  # scratch is shell_test.sh's
# A Slurm of two nodes on this machine, without systemd: munged, slurmctld and two slurmd in the scratch folder. Sourced
# after shell_test.sh, in a process and network namespace of its own (enter_namespace), whose end ends them all.

# why_no_slurm: prints why there can be none here, or nothing.
why_no_slurm() {
  local program
  if [ "$(id -u)" != 0 ]; then echo "Slurm's daemons need root here"; return 0; fi
  for program in ip munged slurmctld slurmd srun sbatch scancel scontrol squeue; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null ||
      { echo "there is no $program (Debian: slurm-wlm, munge; launch/long_tests.sh installs them)"; return 0; }
  done
  id munge >/dev/null 2>&1 || { echo "there is no user munge"; return 0; }
  unshare --net --uts --mount --pid --fork --mount-proc true 2>/dev/null || echo "namespaces are forbidden here"
}

# enter_namespace SCRIPT ARGUMENT...: starts the script again, alone in its namespaces. Call it before shell_test.sh.
enter_namespace() {
  export ROSA_TEST_NAMESPACE=inside
  exec unshare --net --uts --mount --pid --fork --mount-proc --kill-child bash "$@"
}

slurm_up() {
  local node
  export PATH=$PATH:/usr/sbin
  ip link set lo up
  # A host with nothing but a loopback device resolves no name for Slurm.
  ip link add eth0 type veth peer name eth1
  ip addr add 10.98.0.1/24 dev eth0
  ip link set eth0 up
  hostname cluster
  echo "127.0.0.1 localhost cluster n1 n2" >"$scratch/hosts"
  mount --bind "$scratch/hosts" /etc/hosts
  chmod 755 "$scratch"
  mkdir -p "$scratch/munge" "$scratch/state" "$scratch/spool/n1" "$scratch/spool/n2" "$scratch/tmp/n1" "$scratch/tmp/n2"
  head -c 1024 /dev/urandom >"$scratch/munge/key"
  chmod 400 "$scratch/munge/key"
  chown -R munge "$scratch/munge"
  su -s /bin/sh munge -c "munged --key-file=$scratch/munge/key --socket=$scratch/munge/socket --pid-file=$scratch/munge/pid \
    --log-file=$scratch/munge/log --seed-file=$scratch/munge/seed" || { echo "munged does not start"; return 1; }
  # TmpFS: PMIx of two nodes on one machine would meet in one folder.
  cat >"$scratch/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=cluster(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$scratch/munge/socket
CredType=cred/munge
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool/%n
TmpFS=$scratch/tmp/%n
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd.%n.pid
SlurmctldLogFile=$scratch/slurmctld.log
SlurmdLogFile=$scratch/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=30
JobRequeue=1
MailProg=/bin/true
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=cluster NodeAddr=127.0.0.1 Port=17001 CPUs=4
NodeName=n2 NodeHostname=cluster NodeAddr=127.0.0.1 Port=17002 CPUs=4
PartitionName=p Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
  export SLURM_CONF=$scratch/slurm.conf
  slurmctld -D -f "$SLURM_CONF" >"$scratch/slurmctld.out" 2>&1 &
  for node in n1 n2; do slurmd -D -N "$node" -f "$SLURM_CONF" >"$scratch/slurmd.$node.out" 2>&1 & done
  wait_until 60 nodes_idle || { echo "the nodes do not become idle:"; sinfo; tail "$scratch"/slurm*.log; return 1; }
  # The nodes are one machine: its ranks meet on the loopback device only.
  export OMPI_MCA_btl=tcp,self OMPI_MCA_pml=ob1 OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
  export OMPI_MCA_mpi_yield_when_idle=1
}
nodes_idle() { [ "$(sinfo -h -N -o %T 2>/dev/null | sort | uniq -c | tr -s ' ')" = " 2 idle" ]; }

job_state() { scontrol show job "$1" 2>/dev/null | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p'; }
num_restarts() { scontrol show job "$1" | sed -n 's/.*Restarts=\([0-9]*\).*/\1/p'; }

# job_over JOB: also lets a job that was put back start as soon as its last start has left the nodes. Slurm would let it
# wait for two minutes, and for good reason: the same step cannot be there twice.
job_over() {
  local _
  for _ in 1 2 3; do
    case "$(job_state "$1")" in
      PENDING)
        no_job_processes || return 1
        sleep 2  # in the second of its end a node takes a new start for the old one
        scontrol update jobid="$1" StartTime=now 2>/dev/null
        return 1
        ;;
      RUNNING | COMPLETING | CONFIGURING | REQUEUED | SUSPENDED) return 1 ;;
    esac
    sleep 1  # on its way back into the queue a job shows how its steps ended
  done
}

# Processes of jobs that are left although Slurm thinks that the job is over.
job_processes() { pgrep -x -d ' ' 'rosa|mpirun|orted|slurmstepd' 2>/dev/null; }
no_job_processes() {
  local pid
  for pid in $(job_processes); do
    if alive "$pid"; then return 1; fi
  done
}
expect_no_job_processes() {
  wait_until "$1" no_job_processes && return 0
  failed "still there after $1 s: $(ps -o pid,stat,args -p "$(job_processes | tr ' ' ,)")"
}
