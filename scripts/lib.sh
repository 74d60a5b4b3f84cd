# shellcheck shell=bash
# What run, test and .ci/run share: becoming root, Debian packages, the virtual environment.
# They source it after `set -euo pipefail`, with the top of the checkout as working directory.

# A root shell made by plain `su` has a user's PATH.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1

me=$(basename "$0")
# why the last call could not do its work; for whoever called it
export why=
# Debian's own: what another python3 earlier in PATH was built with is unknown.
python=/usr/bin/python3
venv=.venv
bin=$PWD/$venv/bin

say() { printf '%s: %s\n' "$me" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Start the program anew as root, with the same arguments; does nothing for root.
become_root() { # PROGRAM [ARGUMENT …]
    local program=$1 keep
    shift
    is_root && return 0
    command -v sudo >/dev/null ||
        die "this needs root, and there is no sudo on this machine. As root: cd $PWD && ./$me $*"
    say "this needs root: calling itself through sudo"
    # what says how to behave and where packages come from; sudo drops everything else
    keep=$(compgen -e | grep -E '^(CI|NO_COLOR|FELIX_.*|PIP_.*|(http|https|no)_proxy|(HTTP|HTTPS|NO)_PROXY)$' | paste -sd, || true)
    exec sudo --set-home ${keep:+"--preserve-env=$keep"} -- "$program" "$@"
}

# Those of the named Debian packages that are not installed, one a line.
missing_packages() {
    local package state
    for package in "$@"; do
        state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$state" = installed ] || printf '%s\n' "$package"
    done
}

# Some packages bring a daemon that starts at once, and at each boot: etcd, BIRD, FRR. Programs are wanted here, and
# this machine's own routes are nobody's business.
_policy=/usr/sbin/policy-rc.d
_without_daemons() ( # COMMAND [ARGUMENT …]; a shell of its own, so that no interruption leaves the policy behind
    if [ ! -e $_policy ]; then
        trap 'rm -f $_policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$_policy
        chmod 755 $_policy
    fi
    "$@"
)

_disable_daemons_of() { # PACKAGE …
    local units
    command -v systemctl >/dev/null || return 0
    units=$(dpkg-query --listfiles "$@" | sed -n 's,^\(/usr\)\?/lib/systemd/system/\([^/]*\.service\)$,\2,p' | grep -v @ || true)
    # shellcheck disable=SC2086  # a list of words
    [ -z "$units" ] || systemctl --quiet disable $units >/dev/null 2>&1 || true
}

# Install those of the named Debian packages that are missing, without starting what they bring. Returns 1, with the
# reason in $why, if it cannot.
debian_packages() {
    local missing log
    why=
    if ! command -v dpkg-query >/dev/null; then
        why="this is no Debian; it needs what Debian calls: $*"
        return 1
    fi
    missing=$(missing_packages "$@" | paste -sd' ')
    [ -n "$missing" ] || return 0
    if ! is_root || ! command -v apt-get >/dev/null; then
        why="these Debian packages are missing: $missing"
        return 1
    fi
    say "installing Debian packages: $missing"
    log=$(mktemp)
    # a third party's list that cannot be had is no reason to stop: what is wanted is Debian's own
    apt-get -qq -o DPkg::Lock::Timeout=120 update >"$log" 2>&1 </dev/null || say "apt-get update failed; going on"
    # shellcheck disable=SC2086  # a list of words
    if DEBIAN_FRONTEND=noninteractive _without_daemons apt-get -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 install $missing >>"$log" 2>&1 </dev/null; then
        _disable_daemons_of $missing
        rm -f "$log"
        return 0
    fi
    tail -n 20 "$log" >&2
    rm -f "$log"
    why="apt-get could not install: $missing (its last words are above)"
    return 1
}

# What tells one state of the virtual environment from another.
fingerprint() { # REQUIREMENTS
    {
        printf '%s\n' "$PWD" "$1"
        readlink -f "$python"
        cat "$1" pyproject.toml
    } | sha256sum | cut -d' ' -f1
}

# Make .venv hold exactly the pinned versions, and felixpy itself from this checkout. Quick when nothing changed.
# An environment that also holds the development packages serves the agent as well.
environment() { # REQUIREMENTS (requirements.txt or requirements-dev.txt)
    local requirements=$1 stamp=$venv/stamp have
    have=$(cat "$stamp" 2>/dev/null || true)
    if [ -n "$have" ]; then
        [ "$have" != "$(fingerprint requirements-dev.txt)" ] || return 0
        [ "$have" != "$(fingerprint "$requirements")" ] || return 0
    fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die "it needs Python 3.11 or newer at $python (Debian 12 has 3.11)"
    if [ -e $venv ] && ! [ -w $venv ]; then
        die "$venv is out of date and belongs to $(stat -c %U $venv): run ./run setup as root once, or remove it"
    fi
    say "making $venv from $requirements"
    rm -f "$stamp"
    # an environment that was made elsewhere, by another Python or not to its end is not worth mending
    if ! "$bin/python" -m pip --version >/dev/null 2>&1 || ! grep -qsF "$bin/python" "$bin/pip" ||
        [ "$("$bin/python" -V)" != "$("$python" -V)" ]; then
        "$python" -m venv --clear $venv || die "$python could not make a virtual environment (see above)"
    fi
    "$bin/pip" install --quiet --require-hashes --only-binary :all: --requirement "$requirements" ||
        die "pip could not install $requirements (see above)"
    # no network, no build environment of its own: setuptools is among the pinned
    "$bin/pip" install --quiet --no-deps --no-index --no-build-isolation --editable . ||
        die "pip could not install felixpy from this checkout (see above)"
    fingerprint "$requirements" >"$stamp"
}

# Give what root made in a user's checkout to that user, or the next `git clean` of theirs fails.
give_back() {
    local owner
    is_root || return 0
    owner=$(stat -c %u:%g .)
    [ "$owner" != 0:0 ] || return 0
    find . -xdev -path ./.git -prune -o -user root -exec chown --no-dereference "$owner" {} +
}
