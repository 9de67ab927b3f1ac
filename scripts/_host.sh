# Sourced by the other scripts: finds a Python and makes the host ready. Sets ROOT and PYTHON.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Prints the first Python 3.10+ that can make environments, else one that lacks only venv, which prepare installs.
find_python() {
  local name second=""
  for name in python3.12 python3.11 python3.10 python3.13 python3; do
    "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 || continue
    if "$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      echo "$name"
      return
    fi
    second="${second:-$name}"
  done
  echo "$second"
}

SYSTEM_PYTHON="$(find_python)"
if [ -z "$SYSTEM_PYTHON" ]; then
  echo "fastvmt: no Python 3.10 or newer was found; install one, e.g.: sudo apt-get install -y python3 python3-venv" >&2
  exit 1
fi
# From the root and in a subshell: -m looks into the current folder first, and the caller's may have a tools/ too.
(cd "$ROOT" && "$SYSTEM_PYTHON" -m tools.host prepare)
PYTHON="$(cd "$ROOT" && "$SYSTEM_PYTHON" -m tools.host python)"
