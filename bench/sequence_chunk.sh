#!/usr/bin/env bash
# Long sequences in pieces: bench/sequence_chunk.sh [BUILD]. Each line is a process of its own; minutes in all.
set -euo pipefail
program=${1:-build}/bench/sequence_chunk_bench
"$program" 16384 1024 equal teacher
for length in 65536 262144 1048576; do
  "$program" "$length" 4096 none
  "$program" "$length" 4096 full
done
