#!/usr/bin/env bash
# Prepares a checkout: Debian packages, LibTorch in a per-user cache, configure, build. demo.sh and test.sh source it;
# run by itself it builds everything. Each step does nothing where its result is there, and each may be interrupted.
#
# Variables, all optional:
#   ROSA_LIBTORCH   a LibTorch of your own (the folder with include/ and lib/): nothing is downloaded
#   ROSA_ARROW      an Apache Arrow of your own (the folder of the package pyarrow); OFF: built without Parquet
#   ROSA_CUDA       ON or OFF: build with CUDA and NCCL (default: ON where nvidia-smi answers and nvcc is there)
#   ROSA_JOBS       compile jobs (default: the cores, fewer where memory is short)
#   XDG_CACHE_HOME  where the cache is (default: ~/.cache); CI: warnings are errors where it is set

set -euo pipefail
rosa_root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")

# torch and the two wheels that its libtorch_cpu.so links, as torch's and cuda-toolkit's metadata pin them.
torch_version=2.15.0
arrow_version=26.0.1  # of pyarrow
tokenizers_version=0.23.3  # what tests/data/tokenizer was made with
torch_cpu_wheels=("torch==$torch_version" "nvidia-cuda-runtime==13.2.*" "nvidia-cuda-cupti==13.2.*")
# What torch's CUDA libraries link besides (cmake/Cuda.cmake); torch's Python dependencies are left out.
torch_cuda_wheels=("nvidia-cudnn-cu13==9.26.0.51" "nvidia-cusparselt-cu13==0.8.1" "nvidia-nccl-cu13==2.30.7"
  "nvidia-nvshmem-cu13==3.7.2"
  "cuda-toolkit[cublas,cudart,cufft,cufile,cupti,cusolver,cusparse,nvjitlink,nvrtc,nvtx]==13.2.2")

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
# fail WHAT [WHAT TO DO...]
fail() {
  printf '\nrosa: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '      %s\n' "$line" >&2; done
  exit 1
}

# ---------------------------------------------------------------------------------------------------- packages

# command:package for what only has to be on the path, then the libraries.
commands_needed=(g++:g++ cmake:cmake ninja:ninja-build pkg-config:pkg-config ccache:ccache mpirun:openmpi-bin
                 python3:python3 flock:util-linux git:git)
libraries_needed=(libopenmpi-dev libyaml-cpp-dev libcli11-dev nlohmann-json3-dev libspdlog-dev libfmt-dev libxxhash-dev
                  libpcre2-dev libutf8proc-dev zlib1g-dev libzstd-dev
                  libgtest-dev libgmock-dev)

missing_packages() {
  local pair
  for pair in "${commands_needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || echo "${pair#*:}"
  done
  if [ -z "${ROSA_LIBTORCH:-}" ] && { [ ! -d "$(libtorch_folder cpu)" ] || [ ! -d "$(arrow_folder)" ]; }; then
    python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
  fi
  if command -v dpkg-query >/dev/null 2>&1; then
    local installed
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${libraries_needed[@]}" 2>/dev/null || true)
    for pair in "${libraries_needed[@]}"; do
      grep -qx "installed $pair" <<<"$installed" || echo "$pair"
    done
  fi
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}

# apt_install PACKAGE...
apt_install() {
  local missing=("$@") as_root=()
  say "Debian packages missing: ${missing[*]}"
  command -v apt-get >/dev/null 2>&1 ||
    fail "these packages are missing and there is no apt-get to install them: ${missing[*]}" \
         "Install what your system calls them, or take the plain CMake route: README.md, 'On a cluster'."
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 ||
      fail "these packages are missing, and installing them needs root (there is no sudo): ${missing[*]}" \
           "As root: apt-get update && apt-get install ${missing[*]}" \
           "Without root, take the plain CMake route: README.md, 'On a cluster'."
    as_root=(sudo)
    [ -t 0 ] || as_root=(sudo -n)
    note "installing them with sudo apt-get"
  fi
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
  "${apt[@]}" update -q || note "apt-get update failed; trying with the package lists that are there"
  "${apt[@]}" install -y -q --no-install-recommends "${missing[@]}" ||
    fail "apt-get could not install: ${missing[*]}" \
         "Its message is above: is there a network, and does root (or sudo) work? Then start this again."
}

# ---------------------------------------------------------------------------------------------------- LibTorch

cache_folder() { echo "${XDG_CACHE_HOME:-$HOME/.cache}/rosa"; }
# libtorch_folder cpu|cuda: where the wheels of that kind are (or will be) unpacked.
libtorch_folder() { echo "$(cache_folder)/libtorch-$torch_version-$1"; }

arrow_folder() { echo "$(cache_folder)/pyarrow-$arrow_version"; }

# install_libtorch cpu|cuda: sets ROSA_LIBTORCH. cpu: the wheels a CPU program needs (0.5 GB to download); cuda: those
# that torch's CUDA libraries need too (2.5 GB).
install_libtorch() {
  local kind=$1
  if [ -n "${ROSA_LIBTORCH:-}" ]; then
    [ -f "$ROSA_LIBTORCH/include/ATen/ATen.h" ] ||
      fail "ROSA_LIBTORCH=$ROSA_LIBTORCH holds no include/ATen/ATen.h" "Unset it to have LibTorch downloaded."
    return 0
  fi
  local folder
  folder=$(libtorch_folder "$kind")
  mkdir -p "$(dirname "$folder")" || fail "cannot write to $(dirname "$folder")" "Set XDG_CACHE_HOME to another folder."
  if [ ! -d "$folder" ]; then
    # Clones share the cache: one downloads, the others wait for it.
    (
      flock -n 9 || { note "another set-up downloads LibTorch; waiting for it"; flock 9; }
      [ -d "$folder" ] || download_libtorch "$kind" "$folder"
    ) 9>"$folder.lock" || exit 1
  fi
  ROSA_LIBTORCH=$folder/torch
  export ROSA_LIBTORCH
}

# Apache Arrow, which reads Parquet files: optional. Sets ROSA_ARROW, to OFF where there is none. Nothing is downloaded for
# whoever brings a LibTorch.
install_arrow() {
  if [ -n "${ROSA_ARROW:-}" ]; then return 0; fi
  local folder
  folder=$(arrow_folder)
  if [ ! -d "$folder" ] && [ -z "${ROSA_LIBTORCH:-}" ]; then
    mkdir -p "$(dirname "$folder")"
    (
      flock 9
      [ -d "$folder" ] || {
        say "pyarrow $arrow_version from PyPI, into $folder (170 MB)"
        rm -rf "$folder".partial
        python3 -m pip install --target "$folder.partial" --no-deps --only-binary=:all: --no-cache-dir -q --retries 1 \
          --disable-pip-version-check --root-user-action=ignore "pyarrow==$arrow_version" && mv "$folder.partial" "$folder"
      }
    ) 9>"$folder.lock" || note "pyarrow could not be installed: rosa data pack will not read Parquet files"
  fi
  ROSA_ARROW=OFF
  if [ -d "$folder" ]; then ROSA_ARROW=$folder/pyarrow; fi
  export ROSA_ARROW
}

# pip_install TARGET LOG ARGUMENT...: adds wheels to a folder that is removed if that fails.
pip_install() {
  local target=$1 log=$2
  shift 2
  if python3 -m pip install --target "$target" --only-binary=:all: --no-cache-dir --disable-pip-version-check \
    --root-user-action=ignore "$@" 2>&1 | tee -a "$log"; then
    return 0
  fi
  rm -rf "$target"
  local what="${*: -1}" own=""  # the last wheel stands for all
  case $target in *libtorch*) own=", or point ROSA_LIBTORCH at a LibTorch of your own: the folder with include/ and lib/" ;; esac
  if grep -qiE 'connection|timed out|resolve|unreachable|ssl|proxy' "$log"; then
    fail "pip could not reach the package index to download $what" \
         "Check the network (and pip's proxy or index settings) and start this again$own."
  elif grep -q 'No matching distribution' "$log"; then
    fail "PyPI has no wheel of $what for $(python3 --version 2>&1) on $(uname -m)" \
         "Put a python3 that it supports first on PATH (3.11 or newer; Debian 12's is 3.11)$own."
  fi
  fail "pip could not install $what; its message is above and in $log"
}

# download_libtorch KIND FOLDER: under the lock. Installs aside and renames, so FOLDER is whole or absent.
download_libtorch() {
  local kind=$1 folder=$2 python needed_kib=4000000
  if [ "$kind" = cuda ]; then needed_kib=12000000; fi
  python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  say "LibTorch $torch_version ($kind) from PyPI, for Python $python, into $folder"
  local free_kib
  free_kib=$(df -Pk "$(dirname "$folder")" | awk 'NR == 2 { print $4 }')
  [ "$free_kib" -gt "$needed_kib" ] ||
    fail "$(dirname "$folder") has $((free_kib / 1024)) MB free; LibTorch needs $((needed_kib / 1024)) MB while it installs" \
         "Free some space or set XDG_CACHE_HOME to another disk."
  rm -rf "$folder".partial.*
  local partial=$folder.partial.$$
  : >"$folder.log"
  if [ "$kind" = cuda ]; then
    pip_install "$partial" "$folder.log" --no-deps "torch==$torch_version"
    pip_install "$partial" "$folder.log" "${torch_cuda_wheels[@]}"
  else
    pip_install "$partial" "$folder.log" --no-deps "${torch_cpu_wheels[@]}"
  fi
  [ -f "$partial/torch/include/ATen/ATen.h" ] && [ -f "$partial/torch/lib/libtorch_cpu.so" ] ||
    fail "the torch wheel in $partial holds no ATen.h or libtorch_cpu.so" "Please report this with $log."
  mv "$partial" "$folder"
}

# What the tests of tokenizers compare with: PyPI's `tokenizers`, and Qwen3's tokenizer.json. Sets ROSA_TOKENIZERS (for
# PYTHONPATH) and ROSA_QWEN3_TOKENIZER; fails where one can't be had.
install_tokenizers() {
  local packages made
  packages=$(cache_folder)/tokenizers-$tokenizers_version
  made=$(cache_folder)/qwen3-tokenizer
  mkdir -p "$made"
  if [ ! -d "$packages" ]; then
    say "tokenizers $tokenizers_version from PyPI, into $packages"
    (pip_install "$packages.partial" "$packages.log" --no-deps "tokenizers==$tokenizers_version") || return 1
    mv "$packages.partial" "$packages"
  fi
  python3 "$rosa_root/text/qwen3_tokenizer.py" "$made/tokenizer.json" || return 1
  export ROSA_TOKENIZERS=$packages ROSA_QWEN3_TOKENIZER=$made/tokenizer.json
}

# ------------------------------------------------------------------------------------------------------- build

# Whether the CUDA build is asked for: ROSA_CUDA decides; without it, an answering nvidia-smi and nvcc.
wants_cuda() {
  case "${ROSA_CUDA:-auto}" in
    ON | on | 1 | true) return 0 ;;
    OFF | off | 0 | false) return 1 ;;
  esac
  command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && find_nvcc >/dev/null
}

find_nvcc() {
  command -v nvcc 2>/dev/null || { [ -x /usr/local/cuda/bin/nvcc ] && echo /usr/local/cuda/bin/nvcc; }
}

compile_jobs() {
  local cores memory_kib by_memory
  cores=$(nproc)
  memory_kib=$(awk '/MemAvailable/ { print $2 }' /proc/meminfo)
  by_memory=$((memory_kib / 1500000))  # a file with ATen takes up to 1.2 GB
  [ "$by_memory" -ge 1 ] || by_memory=1
  echo "${ROSA_JOBS:-$((cores < by_memory ? cores : by_memory))}"
}

# build_folder PRESET: where the preset of CMakePresets.json builds.
build_folder() { case "$1" in release) echo "$rosa_root/build" ;; *) echo "$rosa_root/build-$1" ;; esac; }

# configure_and_build PRESET "TARGET..." [CMAKE OPTION...]
configure_and_build() {
  local preset=$1 targets folder
  read -ra targets <<<"$2"
  shift 2
  folder=$(build_folder "$preset")
  mkdir -p "$folder"
  (
    flock -n 9 || { note "another build runs in $folder; waiting for it"; flock 9; }
    # A checkout that was moved or copied brings a cache that CMake refuses.
    if [ -f "$folder/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$rosa_root" "$folder/CMakeCache.txt"; then
      note "the build folder belongs to another place; configuring anew"
      rm -rf "$folder/CMakeCache.txt" "$folder/CMakeFiles"
    fi
    say "configure: preset $preset"
    local options=(-DROSA_LIBTORCH="${ROSA_LIBTORCH:-}" -DROSA_ARROW="${ROSA_ARROW:-}" -DROSA_WERROR="$([ -n "${CI:-}" ] && echo ON || echo OFF)" "$@")
    if ! (cd "$rosa_root" && cmake --preset "$preset" "${options[@]}") >"$folder/configure.log" 2>&1; then
      cat "$folder/configure.log" >&2
      fail "CMake could not configure; its message is above and in $folder/configure.log"
    fi
    say "build: ${targets[*]}, $(compile_jobs) jobs, in $folder"
    cmake --build "$folder" --target "${targets[@]}" -j "$(compile_jobs)" ||
      fail "the build failed; the compiler's message is above"
  ) 9>"$folder/.build.lock" || exit 1
}

# prepare "TARGET...": everything up to built targets in build/.
prepare() {
  local kind=cpu cuda=OFF
  install_packages
  if wants_cuda; then
    kind=cuda
    cuda=ON
    note "building with CUDA and NCCL (ROSA_CUDA=OFF builds for the CPU)"
  fi
  install_arrow
  install_libtorch "$kind"
  configure_and_build release "$1" -DROSA_CUDA=$cuda
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  source "$rosa_root/launch/mpi_run.sh"
  only_help "$@"
  prepare all
  say "ready: $rosa_root/build/bin/rosa"
fi
