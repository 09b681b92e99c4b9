#!/usr/bin/env bash
# Ten minutes on a machine with a GPU: all that cannot be known without one.
#
#     benchmarks/gpu_session.sh [--dry] [FOLDER]
#
# Runs from the tree and downloads nothing. Needs numpy, numba, numba-cuda, cupy,
# matplotlib, pytest, hypothesis, rich, safetensors and scikit-learn; PyTorch,
# compute-sanitizer and ncu are used where they are. Leaves in FOLDER (gpu-session):
# session.json, session.log, and both with the pictures in session.tar.gz. Ends with 1
# if a step failed. --dry goes the same way without a GPU: tests/stand_in.py in place of
# CuPy, small sizes, and times that are the interpreter's.
set -uo pipefail

dry=""
if [ "${1:-}" = --dry ]; then
  dry=--dry
  shift
fi
out=${1:-gpu-session}
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.." || exit 2

python=${PYTHON:-python3}
path=.:kernels
select=""
patience=1
if [ -n "$dry" ]; then
  patience=10 # there is no hurry, and a busy machine may interpret slowly
  mkdir -p "$out/stand-in"
  cp tests/stand_in.py "$out/stand-in/cupy.py"
  path=$out/stand-in:$path
  select="not large"
fi
export PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 MINIVAE_REQUIRE=gpu
left="session.json session.log steps.txt kernels.json training.json ncu.csv figures"
(cd "$out" && rm -rf $left session.tar.gz)

# step NAME SECONDS COMMAND...: run it into the log, and note how it ended
step() {
  local name=$1 seconds=$2 began=$SECONDS code
  shift 2
  printf '\n=== %s: %s\n' "$name" "$*" >>"$out/session.log"
  timeout $((seconds * patience)) "$@" >>"$out/session.log" 2>&1
  code=$?
  printf '%s %d %d\n' "$name" "$code" $((SECONDS - began)) >>"$out/steps.txt"
  printf '%-10s %4d s  %s\n' "$name" $((SECONDS - began)) \
    "$([ $code = 0 ] && echo done || echo "exit code $code, see session.log")"
}

# step_with TOOL NAME SECONDS COMMAND...: the same, if the tool is here
step_with() {
  local tool=$1
  shift
  if command -v "$tool" >/dev/null; then
    step "$@"
  else
    printf '%s skipped 0\n' "$1" >>"$out/steps.txt"
    printf '%-10s    - s  no %s here\n' "$1" "$tool"
  fi
}

session() {
  echo "$python" -m benchmarks.gpu_session $dry --out "$out"
}

metrics=gpu__time_duration.sum,dram__bytes_read.sum,dram__bytes_write.sum
metrics+=,dram__throughput.avg.pct_of_peak_sustained_elapsed
metrics+=,sm__warps_active.avg.pct_of_peak_sustained_active
metrics+=,l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_ld.ratio
metrics+=,smsp__inst_executed.sum,launch__registers_per_thread

step_with nvidia-smi machine 10 nvidia-smi
step tests 150 "$python" -m pytest -p no:cacheprovider -o addopts= \
  -W ignore::pytest.PytestConfigWarning -q -rs ${select:+-k "$select"} tests/test_gpu.py
# shellcheck disable=SC2046
{
  step benchmarks 240 $(session) kernels
  step training 60 $(session) training
  step_with compute-sanitizer memcheck 60 \
    compute-sanitizer --tool memcheck --error-exitcode 9 $(session) launches
  step_with compute-sanitizer racecheck 60 \
    compute-sanitizer --tool racecheck --error-exitcode 9 $(session) launches
  step_with ncu ncu 90 ncu --clock-control none --csv --metrics "$metrics" \
    --log-file "$out/ncu.csv" $(session) fastest
  step summary 10 $(session) summary
}
(cd "$out" && ls -d $left 2>/dev/null | tar czf session.tar.gz -T -)
echo "$out/session.tar.gz"
! grep -qvE ' (0|skipped) ' "$out/steps.txt"
