#!/usr/bin/env bash
# gpu-check.sh [--cpu] [--archive FILE] [--out FOLDER] [--seconds N]: builds and checks mixbct on a machine with an NVIDIA GPU, in under
# eight minutes (docs/gpu.md). It needs Python with PyTorch 2.11 or newer (CUDA) and g++, and neither Node, npm packages nor network:
# they are in the archive that scripts/gpu-pack.mjs has made. Leaves gpu-check.json and gpu-check.md in FOLDER.
#   --cpu       the half that needs no GPU; the rest is skipped by name
#   --archive   default: mixbct-gpu-check.tar.gz beside this script
#   --out       default: gpu-check
#   --seconds   what it may take; default: 460
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
archive=$here/mixbct-gpu-check.tar.gz out=gpu-check seconds=460 cpu=()
began=$(date +%s)
stop() { echo "gpu-check: $1" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --cpu) cpu=(--cpu); shift ;;
    --archive | --out | --seconds) [ $# -ge 2 ] || stop "$1 was given nothing"; declare "${1#--}=$2"; shift 2 ;;
    *) stop "unknown option $1 (see the head of this script)" ;;
  esac
done
[ -f "$archive" ] || stop "$archive: no such file; node scripts/gpu-pack.mjs makes it"
command -v python3 > /dev/null || stop 'no python3'
command -v "${CXX:-g++}" > /dev/null || stop "no ${CXX:-g++}"
python3 - <<'PYTHON' || stop 'wanted a python3 that can import PyTorch 2.11 or newer'
import sys, torch
print(f"gpu-check: PyTorch {torch.__version__}, CUDA {torch.version.cuda}", file=sys.stderr)
sys.exit(tuple(map(int, torch.__version__.split("+")[0].split(".")[:2])) < (2, 11))
PYTHON
if [ ${#cpu[@]} -eq 0 ]; then
  python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || stop 'PyTorch finds no CUDA device; --cpu runs what needs none'
  command -v nvcc > /dev/null || echo 'gpu-check: no nvcc: several processes may not be able to use NCCL' >&2
fi

mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -rf "$out/mixbct-gpu-check"
tar -C "$out" -xzf "$archive"
cd "$out/mixbct-gpu-check"
export PATH="$PWD/bin:$PATH" MIXBCT_HOME="$out/home" MIXBCT_PYTHON=python3
unset MIXBCT_LIBTORCH LIBTORCH
echo "gpu-check: unpacked; Node $(node --version)" >&2
node scripts/setup.mjs
echo "gpu-check: built after $(($(date +%s) - began)) s" >&2
exec node dist/scripts/gpu-check.js --out "$out" --until "$(((began + seconds) * 1000))" "${cpu[@]}"
