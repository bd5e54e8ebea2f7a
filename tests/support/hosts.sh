#!/usr/bin/env bash
# shellcheck disable=SC2154  # scratch is shell_test.sh's
# Hosts for tests: network namespaces on a switch, each with a name, an address, /dev/shm and /tmp of its own. Sourced
# after shell_test.sh. Needs root. Everything is made and removed in well under a second.

# why_no_hosts: prints why there can be none here, or nothing.
why_no_hosts() {
  local probe=rosa$$probe
  if [ "$(id -u)" != 0 ]; then echo "network namespaces need root"; return 0; fi
  command -v ip >/dev/null || { echo "there is no ip (Debian: iproute2)"; return 0; }
  command -v unshare >/dev/null || { echo "there is no unshare (Debian: util-linux)"; return 0; }
  ip netns add "$probe" 2>/dev/null || { echo "network namespaces are forbidden here"; return 0; }
  ip -n "$probe" link add v type veth peer name w 2>/dev/null || echo "virtual network devices are forbidden here"
  ip netns del "$probe"
  unshare --mount --uts true 2>/dev/null || echo "mount namespaces are forbidden here"
}

space() { echo "rosa$$n$1"; }  # the network namespace of host number $1 (0: the switch)

# hosts_up NUM: node1 ... nodeNUM, and $scratch/agent, which stands for ssh.
hosts_up() {
  local i
  num_hosts=$1
  ip netns add "$(space 0)"
  ip -n "$(space 0)" link add switch type bridge
  ip -n "$(space 0)" link set switch up
  echo "127.0.0.1 localhost" >"$scratch/hosts"
  for i in $(seq "$num_hosts"); do
    mkdir -p "$scratch/shm$i" "$scratch/tmp$i"
    ip netns add "$(space "$i")"
    ip -n "$(space 0)" link add "port$i" type veth peer name eth0 netns "$(space "$i")"
    ip -n "$(space 0)" link set "port$i" master switch up
    ip -n "$(space "$i")" addr add "10.99.0.$i/24" dev eth0
    ip -n "$(space "$i")" link set eth0 up
    ip -n "$(space "$i")" link set lo up
    # Keepalive does not watch a connection that has unacknowledged data; that is given up after this many retries: here
    # about ten seconds instead of a quarter of an hour (docs/running.md).
    ip netns exec "$(space "$i")" sh -c 'echo 5 >/proc/sys/net/ipv4/tcp_retries2'
    # Nor one that is not there yet: seven seconds instead of two minutes.
    ip netns exec "$(space "$i")" sh -c 'echo 2 >/proc/sys/net/ipv4/tcp_syn_retries'
    echo "10.99.0.$i node$i" >>"$scratch/hosts"
  done
  cat >"$scratch/enter" <<SCRIPT
#!/bin/bash
# enter NUMBER COMMAND...: on that host
number=\$1
shift
exec ip netns exec "rosa$$n\$number" unshare --uts --mount -- bash -c '
  number=\$0
  hostname "node\$number"
  mount --bind "$scratch/hosts" /etc/hosts
  mount --bind "$scratch/shm\$number" /dev/shm
  export TMPDIR="$scratch/tmp\$number"
  exec "\$@"' "\$number" "\$@"
SCRIPT
  cat >"$scratch/agent" <<SCRIPT
#!/bin/bash
host=\$1
shift
exec "$scratch/enter" "\${host#node}" /bin/sh -c "\$*"
SCRIPT
  chmod +x "$scratch/enter" "$scratch/agent"
}

# From now on what is sent to or from this host gets lost without a word, as in a network that is cut further away; the
# hosts know each other's hardware addresses for good, so that nobody asks for them in vain.
into_the_void() {
  local i other
  for i in $(seq "$num_hosts"); do
    for other in $(seq "$num_hosts"); do
      [ "$i" != "$other" ] || continue
      ip -n "$(space "$i")" neigh replace "10.99.0.$other" dev eth0 nud permanent \
        lladdr "$(ip -n "$(space "$other")" -o link show eth0 | grep -oE 'ether [^ ]*' | cut -d' ' -f2)"
    done
  done
  ip -n "$(space 0)" link set "port$1" nomaster
}
back_from_the_void() { ip -n "$(space 0)" link set "port$1" master switch; }

link_down() { ip -n "$(space "$1")" link set eth0 down; }
link_up() { ip -n "$(space "$1")" link set eth0 up; }

# processes_on NUMBER: the living ones; zombies do not count.
processes_on() {
  local pid
  for pid in $(ip netns pids "$(space "$1")"); do
    if alive "$pid"; then echo "$pid"; fi
  done
}
none_on() { [ -z "$(processes_on "$1")" ]; }

# kill_host NUMBER: as a power failure would, but for what the kernel still sends for the dead.
kill_host() {
  # shellcheck disable=SC2046
  kill -KILL $(processes_on "$1") 2>/dev/null
}

# expect_no_orphans SECONDS: on any host.
expect_no_orphans() {
  local i
  for i in $(seq "$num_hosts"); do
    wait_until "$1" none_on "$i" && continue
    failed "still on node$i after $1 s:"
    # shellcheck disable=SC2046
    ps -o pid,stat,args -p "$(processes_on "$i" | paste -sd,)"
  done
}

hosts_down() {
  local i
  for i in $(seq 0 "${num_hosts:-0}"); do
    [ -e "/run/netns/$(space "$i")" ] || continue
    kill_host "$i"
    ip netns del "$(space "$i")"
  done
}
