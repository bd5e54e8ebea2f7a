#!/usr/bin/env bash
# Builds and runs the benchmarks in bench/, each repeated after a warm-up, and prints tables of medians (wall and CPU
# time); tables and JSON are also kept in build/bench-results/. Run it on an idle machine.
#   ./launch/bench.sh                    all of them (an hour)
#   ./launch/bench.sh executor           the programs whose name holds that
#   ./launch/bench.sh matcher:/uniform/  of these, the benchmarks that match the expression
#   ./launch/bench.sh --list [FILTER]    names only
# Variables: ROSA_BENCH_REPEATS (5), ROSA_BENCH_SECONDS (least of one repeat, 0.1), ROSA_BENCH_RANKS (of those that are
# jobs of MPI, 2); those of launch/setup.sh.
set -euo pipefail
# shellcheck source=launch/mpi_run.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/mpi_run.sh"

list=
if [ "${1:-}" = --list ]; then
  list=1
  shift
fi
case "${1:-}" in
  -*) only_help "$@" ;;
esac
[ $# -le 1 ] || usage_error "unexpected argument '$2': one filter is taken"
source "$launch_folder/setup.sh"
filter=${1:-}
program_filter=${filter%%:*}
expression=.
if [[ $filter == *:* ]]; then expression=${filter#*:}; fi

repeats=${ROSA_BENCH_REPEATS:-5}
seconds=${ROSA_BENCH_SECONDS:-0.1}
results=$rosa_root/build/bench-results
libraries_needed+=(libbenchmark-dev)

# Every bench/NAME_bench.cpp is a program: of Google Benchmark, or a job of MPI that prints its own table.
programs=()
for source in "$rosa_root"/bench/*"$program_filter"*_bench.cpp; do
  [ -f "$source" ] || fail "no benchmark program's name holds '$program_filter'" \
    "There are: $(cd "$rosa_root/bench" && ls ./*_bench.cpp | sed 's#./\(.*\)_bench.cpp#\1#' | tr '\n' ' ')"
  programs+=("$(basename "$source" .cpp)")
done

is_google_benchmark() { grep -q 'benchmark/benchmark.h' "$rosa_root/bench/$1.cpp"; }

describe_machine() {
  echo "$(date +%F), commit $(git -C "$rosa_root" describe --always --dirty --exclude='*' 2>/dev/null || echo unknown)," \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(env -u OMP_NUM_THREADS nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
}

# run_program NAME: its table on standard output and in NAME.md, its figures in NAME.json.
run_program() {
  local name=$1 program=$rosa_root/build/bench/$1
  if ! is_google_benchmark "$name"; then
    find_mpi_run "${ROSA_BENCH_RANKS:-2}"
    # shellcheck disable=SC2154  # set by find_mpi_run
    "${mpi_run[@]}" "$program" | tee "$results/$name.md"
    return
  fi
  # Repeats of all benchmarks in random order: what disturbs the machine disturbs both sides of a comparison.
  "$program" --benchmark_filter="$expression" --benchmark_repetitions="$repeats" --benchmark_min_time="$seconds" \
    --benchmark_min_warmup_time="$seconds" --benchmark_enable_random_interleaving=true \
    --benchmark_out="$results/$name.json" --benchmark_out_format=json >"$results/$name.log" 2>&1 ||
    { cat "$results/$name.log" >&2; return 1; }
  grep -i '^skipped' "$results/$name.log" || true
  python3 "$rosa_root/bench/table.py" "$results/$name.json" | tee "$results/$name.md"
}

install_packages
install_libtorch cpu
configure_and_build release "${programs[*]}" -DROSA_BENCH=ON

if [ -n "$list" ]; then
  for name in "${programs[@]}"; do
    if is_google_benchmark "$name"; then
      "$rosa_root/build/bench/$name" --benchmark_list_tests=true --benchmark_filter="$expression" 2>/dev/null | sed "s#^#${name%_bench}:#"
    else
      echo "${name%_bench}"
    fi
  done
  exit 0
fi

mkdir -p "$results"
describe_machine
failed=()
for name in "${programs[@]}"; do
  say "$name"
  run_program "$name" || failed+=("$name")
done
[ ${#failed[@]} = 0 ] || fail "failed: ${failed[*]}"
say "tables and JSON: $results"
