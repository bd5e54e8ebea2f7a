#!/usr/bin/env bash
# Prepares the checkout as demo.sh does and runs every test that takes minutes: formatting, ctest, the sanitizer builds of
# what needs no LibTorch, and the CUDA build and Python where nvcc is there. Goes on after a failure; its last line counts.
#   ./launch/test.sh          everything but the long tests
#   ./launch/test.sh quick    formatting and ctest's unit and mpi tests only
#   ./launch/test.sh long     the long tests: launch/long_tests.sh
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/mpi_run.sh"

case "${1:-}" in
  "" | quick) [ $# -le 1 ] || usage_error "unexpected argument '$2'" ;;
  long) shift; exec "$launch_folder/long_tests.sh" "$@" ;;
  *) only_help "$@" ;;
esac
source "$launch_folder/setup.sh"

clang_format_version=14.0.6  # another version formats differently
transformers_version=5.23.0
lm_eval_version=0.4.13
tensorboard_version=2.21.0
passed=0
failed=0
skipped=0
failures=()

record() {  # record NAME STATUS: counts one check that isn't a ctest entry
  if [ "$2" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); failures+=("$1"); fi
}

skip() {
  skipped=$((skipped + 1))
  say "SKIPPED: $*"
}

# Chromium looks at the page of `rosa report`. That test is skipped without it, so a system where it can't be installed only
# gets a note.
install_browser() {
  local name
  for name in chromium chromium-browser google-chrome; do
    command -v $name >/dev/null 2>&1 && return 0
  done
  (apt_install chromium) || note "without Chromium the page of rosa report is not looked at"
}

# Shell scripts, where shellcheck is there: whatever its version, its warnings are worth reading.
check_scripts() {
  if ! command -v shellcheck >/dev/null 2>&1; then
    skip "shellcheck is not installed"
    return 0
  fi
  say "shellcheck"
  local status=0
  (cd "$rosa_root" && git ls-files -- '*.sh' '*.sbatch' | xargs -r shellcheck --severity=warning) || status=1
  record shellcheck $status
}

check_format() {
  if ! clang-format --version 2>/dev/null | grep -qF "$clang_format_version"; then
    skip "clang-format: version $clang_format_version is not installed"
    return 0
  fi
  say "clang-format"
  local status=0
  (cd "$rosa_root" && git ls-files -- '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -r clang-format --dry-run --Werror) || status=1
  record clang-format $status
}

# run_ctest PRESET [CTEST OPTION...]
run_ctest() {
  local preset=$1 folder log counts num_skipped
  shift
  folder=$(build_folder "$preset")
  log=$folder/ctest.log
  say "ctest: $preset"
  (cd "$folder" && timeout -k 30 3600 ctest --output-on-failure --no-tests=error -j "$(nproc)" "$@" </dev/null) 2>&1 | tee "$log" || true
  # "100% tests passed, 0 tests failed out of 12"
  counts=$(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\).*/\1 \2/p' "$log" | tail -n 1)
  if [ -z "$counts" ]; then
    record "ctest $preset" 1
    return 0
  fi
  num_skipped=$(grep -c '\*\*\*Skipped' "$log" || true)
  if [ "$num_skipped" != 0 ]; then
    grep -a '^skipped: ' "$folder/Testing/Temporary/LastTest.log" || true
    skipped=$((skipped + num_skipped))
  fi
  failed=$((failed + ${counts% *}))
  passed=$((passed + ${counts#* } - ${counts% *} - num_skipped))
  if [ "${counts% *}" != 0 ]; then failures+=("ctest $preset"); fi
}

# A build that fails is a failed check, not the end of the run.
build() {
  local status=0
  (configure_and_build "$@") || status=$?
  if [ $status != 0 ]; then record "build $1" 1; fi
  return $status
}

run_sanitizers() {
  local preset
  for preset in asan tsan; do
    if build "$preset" all; then
      run_ctest "$preset" -LE '^slow$'
    fi
  done
}

# The CUDA build compiles, links and passes goldens and one training test also where there is no GPU.
run_cuda() {
  if ! find_nvcc >/dev/null; then
    skip "CUDA build: there is no nvcc on PATH or in /usr/local/cuda"
    return 0
  fi
  local libtorch
  libtorch=$(ROSA_LIBTORCH=$own_libtorch && install_libtorch cuda >&2 && echo "$ROSA_LIBTORCH") || {
    record "LibTorch for CUDA" 1
    return 0
  }
  export ROSA_LIBTORCH=$libtorch
  if build cuda "rosa golden_test pack_bits_cuda_test proxy_cuda_test device_test rosa_fake_gpu_against_real_headers" -DROSA_CUDA=ON; then
    run_ctest cuda -R '^(golden_test|pack_bits_cuda_test|proxy_cuda_test|device_test)$'
  fi
}

# Lines of seeded mixed scripts, and small tokenizers of every piece, beside PyPI's tokenizers. ./launch/test.sh long
# compares a million lines.
run_tokenizers() {
  local status=0
  say "Python: tokenizers"
  PYTHONPATH=$ROSA_TOKENIZERS timeout -k 5 600 python3 "$rosa_root/tests/text/tokenizer_parity.py" \
    "$(build_folder release)/tests/text/tokenizer_test" 10000 \
    "$rosa_root"/tests/data/tokenizer/*/tokenizer.json "$ROSA_QWEN3_TOKENIZER" || status=$?
  PYTHONPATH=$ROSA_TOKENIZERS timeout -k 5 600 python3 "$rosa_root/tests/text/tokenizer_pieces.py" \
    "$(build_folder release)/tests/text/tokenizer_answers" 100 || status=$?
  record "tokenizers" $status
}

# The event files of a run, read by PyPI's tensorboard.
run_tensorboard() {
  local packages status=0
  packages=$(cache_folder)/tensorboard-$tensorboard_version
  if [ ! -d "$packages" ]; then
    say "tensorboard $tensorboard_version from PyPI, into $packages (160 MB)"
    (pip_install "$packages.partial" "$packages.log" "tensorboard==$tensorboard_version") &&
      mv "$packages.partial" "$packages" || { record "tensorboard $tensorboard_version from PyPI" 1; return 0; }
  fi
  say "Python: event files in tensorboard"
  PYTHONPATH=$packages timeout -k 5 600 python3 "$rosa_root/tests/training/tensorboard_test.py" \
    "$(build_folder release)/bin/rosa" "$rosa_root/tests/data/goldens/qwen3_tied" || status=$?
  record "event files in tensorboard" $status
}

# Exported students in transformers. It needs the whole torch, which only the CUDA build brings.
run_python() {
  local torch packages status=0
  torch=$(libtorch_folder cuda)
  packages=$(cache_folder)/transformers-$transformers_version
  if [ ! -d "$torch" ]; then
    skip "Python: the test against transformers needs the torch of the CUDA build"
    return 0
  fi
  if [ ! -d "$packages" ]; then
    say "transformers $transformers_version from PyPI, into $packages"
    (pip_install "$packages.partial" "$packages.log" "transformers==$transformers_version" safetensors) &&
      mv "$packages.partial" "$packages" || { record "transformers" 1; return 0; }
  fi
  say "Python: exported students in transformers"
  PYTHONPATH=$torch:$packages timeout -k 5 600 python3 "$rosa_root/tests/models/transformers_parity.py" \
    "$(build_folder release)/tests/models/write_parity_case" "$(build_folder release)/lib/librosa_c.so" || status=$?
  record "Python against transformers" $status
  run_lm_eval "$torch" "$packages"
}

# lm-evaluation-harness on an exported student: run_lm_eval TORCH TRANSFORMERS (folders of packages). accelerate comes without
# what it needs, which would be a second torch.
run_lm_eval() {
  local harness status=0
  harness=$(cache_folder)/lm_eval-$lm_eval_version
  if [ ! -d "$harness" ]; then
    say "lm_eval $lm_eval_version from PyPI, into $harness (750 MB)"
    (pip_install "$harness.partial" "$harness.log" --no-binary=sqlitedict,rouge-score,word2number "lm_eval==$lm_eval_version" psutil &&
      pip_install "$harness.partial" "$harness.log" --no-deps accelerate) &&
      mv "$harness.partial" "$harness" || { skip "lm_eval $lm_eval_version can't be installed"; return 0; }
  fi
  say "Python: lm-evaluation-harness on an exported student"
  PYTHONPATH=$1:$2:$harness timeout -k 5 600 python3 "$rosa_root/tests/models/lm_eval_test.py" \
    "$(build_folder release)/tests/models/write_parity_case" "$(build_folder release)/lib/librosa_c.so" || status=$?
  record "lm-evaluation-harness" $status
}

own_libtorch=${ROSA_LIBTORCH:-}
install_packages
install_browser
check_format
check_scripts
(prepare all) || { record "build" 1; echo "$passed passed, $failed failed, $skipped skipped"; exit 1; }
[ -f "$(build_folder release)/lib/librosa_parquet.so" ] || skip "Parquet files: pyarrow is not there"
if [ "${1:-}" = quick ]; then
  run_ctest release -LE '^(fault|slow)$'
else
  has_tokenizers=1
  install_tokenizers || { record "PyPI's tokenizers and Qwen3's vocabulary" 1; has_tokenizers=0; }
  run_ctest release -LE '^slow$'
  if [ $has_tokenizers = 1 ]; then run_tokenizers; fi
  run_tensorboard
  run_sanitizers
  run_cuda
  run_python
fi

if [ "$failed" != 0 ]; then
  printf 'failed: %s\n' "${failures[@]}"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
