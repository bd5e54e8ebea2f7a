#!/usr/bin/env bash
# Builds rosa/kernels with CUDA and without LibTorch, and runs its tests on this machine's GPU: needs cmake, ninja, nvcc
# and the packages of docs/dependencies.md that base needs. Fails where there is no GPU.
#   ./launch/gpu_check.sh                  build and test
#   ./launch/gpu_check.sh memcheck         the device tests again under compute-sanitizer (or racecheck, synccheck)
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/mpi_run.sh"

case "${1:-}" in
  "" | memcheck | racecheck | synccheck | initcheck) ;;
  *) only_help "$@" ;;
esac
[ $# -le 1 ] || usage_error "unexpected argument '$2'"
cd "$launch_folder/.."

cmake --preset kernels-cuda
cmake --build --preset kernels-cuda
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi; then
  echo "gpu_check: the kernels are built, but this machine has no GPU that nvidia-smi sees: nothing ran on a device" >&2
  exit 1
fi
ctest --test-dir build-kernels-cuda --output-on-failure
for test in pack_bits_cuda_test proxy_cuda_test; do
  if [ -n "${1:-}" ]; then
    compute-sanitizer --tool "$1" --error-exitcode 1 "build-kernels-cuda/tests/rosa/kernels/$test"
  fi
done
