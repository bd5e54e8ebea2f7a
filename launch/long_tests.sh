#!/usr/bin/env bash
# Runs the tests that take too long for every change: long fault tests, hosts, Slurm, the soak. Prepares the checkout as
# demo.sh does, installs what they need besides (Slurm, munge, iproute2), and keeps what they said in
# bench/results/DATE-long-tests.md. The exit code is 0 where every test passed or was skipped.
#   ./launch/long_tests.sh             all of them (ctest label slow)
#   ./launch/long_tests.sh -R slurm    those that ctest's -R finds; the output stays in build/long_tests.md
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/mpi_run.sh"

selection=()
case "${1:-}" in
  "") ;;
  -R) [ $# = 2 ] || usage_error "-R takes one regular expression"; selection=(-R "$2") ;;
  *) only_help "$@" ;;
esac
source "$launch_folder/setup.sh"

# A test whose program is missing is skipped, so a system without apt-get only gets a note.
extra_packages() {
  local pair missing=()
  for pair in ip:iproute2 unshare:util-linux slurmctld:slurmctld slurmd:slurmd srun:slurm-client munged:munge; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  (apt_install "${missing[@]}") || note "without these packages some tests are skipped: ${missing[*]}"
}

(prepare "rosa slow_tests")
extra_packages
install_tokenizers || note "without PyPI's tokenizers the tests that compare with them are skipped"
folder=$(build_folder release)
log=$folder/long_tests.log
result=$rosa_root/bench/results/$(date +%F)-long-tests.md
if [ ${#selection[@]} != 0 ]; then result=$folder/long_tests.md; fi

say "ctest: label slow"
commit=$(git -C "$rosa_root" describe --always --dirty 2>/dev/null || echo unknown)
start=$(date -u '+%F %H:%M UTC')
status=0
(cd "$folder" && ctest -L '^slow$' "${selection[@]}" --no-tests=error -V </dev/null) 2>&1 | tee "$log" || status=$?

version() { "$@" 2>/dev/null | head -n 1 || true; }
{
  echo "# Long tests, $start"
  echo
  echo "\`./launch/long_tests.sh${selection[*]:+ ${selection[*]}}\`, commit $commit, $(num_cores) cores," \
    "Linux $(uname -r), $(version mpirun --version), $(version slurmctld -V)"
  echo
  echo '| test | result | seconds |'
  echo '|---|---|---|'
  # "1/3 Test #70: slurm_test ............   Passed   55.12 sec"
  sed -nE 's/^ *[0-9]+\/[0-9]+ +Test +#[0-9]+: ([^ ]+) [. ]*\**([A-Za-z ]+[A-Za-z]) *([0-9.]+) sec.*/| \1 | \2 | \3 |/p' "$log"
  echo
  echo '```text'
  sed -nE 's/^[0-9]+: ?//p' "$log" | grep -avE '^( ?ROSA_BUILD=|Test command|Working Directory|Environment variables|Test timeout)' || true
  echo '```'
} >"$result"
say "kept in $result"
exit "$status"
