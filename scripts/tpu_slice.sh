#!/bin/sh
# Runs a command of this repository on all hosts of a TPU VM slice, each in its own copy of the repository.
#
#   scripts/tpu_slice.sh NAME ZONE setup
#   scripts/tpu_slice.sh NAME ZONE train --config=configs/stunet_base.py --workdir=gs://BUCKET/stunet_base
#   scripts/tpu_slice.sh NAME ZONE stop      # SIGTERM: one checkpoint, then the end, on all hosts
#
# See docs/tpu.md.
set -eu

[ $# -ge 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
name=$1 zone=$2 action=$3
shift 3

on_all_hosts() {
  gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"
}

# What a remote shell is to read, argument by argument.
quoted() {
  for argument; do printf "'%s' " "$(printf %s "$argument" | sed "s/'/'\\\\''/g")"; done
}

case $action in
  setup)
    repository=$(git remote get-url origin)
    commit=$(git rev-parse HEAD)
    on_all_hosts "set -e
      [ -d lumiere ] || git clone --quiet $(quoted "$repository") lumiere
      cd lumiere && git fetch --quiet && git checkout --quiet $commit
      python3 -m venv .venv
      .venv/bin/pip install --quiet -c constraints.txt -e '.[tpu]'"
    ;;
  train)
    # Compiled programs are kept on each host: a restart does not compile again.
    on_all_hosts "cd lumiere && JAX_COMPILATION_CACHE_DIR=\$HOME/.cache/lumiere \
      .venv/bin/python train.py --distributed $(quoted "$@")"
    ;;
  stop)
    on_all_hosts "pkill -TERM -f '[t]rain.py --distributed' || true"
    ;;
  *)
    echo "error: $action is not an action: setup, train or stop" >&2
    exit 2
    ;;
esac
