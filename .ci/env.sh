#!/usr/bin/env bash
# Make .venv, or leave it alone when nothing that decides its content has changed.
#
#   PYTHON=...                    the interpreter to build on (3.12 or newer); a .venv that works is
#                                 kept, so remove it first to change its interpreter
#   HYPEMARL_INSTALLER=uv|pip     the installer (default: uv where it can be had, else pip)
#
# Where the interpreter found imports dolfinx 0.11 or newer already (an image, a conda environment),
# .venv looks through to its packages and none of them is installed again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$PWD/.venv
python=$venv/bin/python
stamp=$venv/.hypemarl
started=$venv/.hypemarl-started # stands while an install is under way
HAS_VERSION='import sys; sys.exit(sys.version_info < (3, 12))'
HAS_DOLFINX='
import importlib.util, sys
if importlib.util.find_spec("dolfinx_solver"):
    import dolfinx_solver
import dolfinx, gmsh
sys.exit(tuple(map(int, dolfinx.__version__.split(".")[:2])) < (0, 11))'

say() { printf 'env: %s\n' "$*" >&2; }
runs() { "$1" -c "$HAS_VERSION" </dev/null >/dev/null 2>&1; } # a pyenv shim may exist and not run
has_dolfinx() { "$1" -c "$HAS_DOLFINX" </dev/null >/dev/null 2>&1; }
have() { command -v "$1" >/dev/null 2>&1; }

wanted() { # what the content of .venv depends on
    cat pyproject.toml .ci/constraints.txt .ci/env.sh .ci/pins.py | sha256sum
    echo "$venv"
}

usable() { # .venv is whole, and was not moved here: its scripts name the place they were made in
    [ ! -e "$started" ] && runs "$python" && { [ ! -e "$stamp" ] || grep -qxF "$venv" "$stamp"; }
}

candidates() { # interpreters, one a line, the best first
    printf '%s\n' python3 python python3.12 python3.13 python3.14
    if have pyenv; then
        pyenv versions --bare 2>/dev/null | grep -E '^3\.(1[2-9]|[2-9][0-9])' | sort -V |
            while read -r version; do echo "$(pyenv prefix "$version" 2>/dev/null)/bin/python"; done
    fi
    if have uv; then uv python find --no-project '>=3.12' 2>/dev/null || true; fi
}

find_python() {
    local candidate first=""
    if [ -n "${PYTHON:-}" ]; then
        runs "$PYTHON" && { echo "$PYTHON"; return; }
        say "PYTHON=$PYTHON does not run or is older than 3.12; name another, or unset PYTHON"
        return 1
    fi
    while read -r candidate; do
        runs "$candidate" || continue
        if has_dolfinx "$candidate"; then echo "$candidate"; return; fi
        first=${first:-$candidate}
    done < <(candidates)
    [ -n "$first" ] && { echo "$first"; return; }
    say "no Python >= 3.12 on the PATH, in pyenv or in uv. Install one, for instance with"
    say "  apt install python3.12-venv   or   pyenv install 3.12   or   uv python install 3.12"
    say "or name one: make env PYTHON=/path/to/python3.12"
    return 1
}

make_venv() { # make_venv INTERPRETER
    rm -rf "$venv"
    "$1" -m venv "$venv" >/dev/null 2>&1 && return
    rm -rf "$venv" # Debian's python3 without python3-venv leaves half a folder
    if have uv; then
        uv venv --quiet --seed --python "$1" "$venv"
    else
        say "$1 cannot make a virtual environment: install its venv module (apt install python3-venv)"
        return 1
    fi
}

look_through() { # look_through INTERPRETER: let .venv see the packages of this interpreter
    "$1" - "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" <<'EOF'
import pathlib, site, sys
lines = [f"import site; site.addsitedir({folder!r})\n" for folder in site.getsitepackages()]
pathlib.Path(sys.argv[1], "parent.pth").write_text("".join(lines), encoding="utf-8")
EOF
}

installer() { # uv or pip; uv is put into .venv where the machine has none
    local choice=${HYPEMARL_INSTALLER:-auto}
    case $choice in
        pip) echo pip ;;
        auto | uv)
            if have uv; then echo uv
            elif "$python" -m pip install --quiet --disable-pip-version-check uv >&2; then echo "$venv/bin/uv"
            elif [ "$choice" = auto ]; then echo pip
            else say "HYPEMARL_INSTALLER=uv: uv is not on the PATH and could not be installed"; return 1
            fi ;;
        *) say "HYPEMARL_INSTALLER must be uv or pip, got $choice"; return 1 ;;
    esac
}

install() { # install INSTALLER EXTRAS PINS
    local target=".[$2]"
    case $1 in
        pip) "$python" -m pip install --quiet --disable-pip-version-check -c "$3" -e "$target" ;;
        *) VIRTUAL_ENV=$venv "$1" pip install --quiet --compile-bytecode --python "$python" -c "$3" -e "$target" ;;
    esac
}

install_or_fall_back() { # install_or_fall_back INSTALLER EXTRAS PINS
    install "$@" && return
    [ "$1" != pip ] && [ -z "${HYPEMARL_INSTALLER:-}" ] || return 1
    say "$1 failed; once more with pip"
    install pip "$2" "$3"
}

build_on_dolfinx() { # build_on_dolfinx INTERPRETER: pip, as uv does not look through
    make_venv "$1" && touch "$started" && look_through "$1"
    if ! has_dolfinx "$python"; then # a wheel, say, that looks for MPI in its own prefix
        say "the dolfinx of $1 does not load from .venv; .venv gets its own"
        return 1
    fi
    say "keeping the dolfinx of $1"
    "$1" .ci/pins.py >"$venv/pins.txt"
    install pip dev "$venv/pins.txt"
}

build() { # build INTERPRETER
    local tool
    usable || make_venv "$1"
    touch "$started"
    "$python" .ci/pins.py --bare >"$venv/pins.txt"
    tool=$(installer)
    install_or_fall_back "$tool" fem,dev "$venv/pins.txt"
}

main() {
    local interpreter
    if have flock; then exec 9>.venv.lock && flock 9; fi # two `make` at once
    [ "$(cat "$stamp" 2>/dev/null)" != "$(wanted)" ] || return 0
    interpreter=$(find_python)
    say "building .venv with $interpreter (minutes on a first run)"
    if has_dolfinx "$interpreter" && [ "$("$interpreter" -c 'import sys; print(sys.prefix)')" != "$venv" ]; then
        build_on_dolfinx "$interpreter" || { rm -rf "$venv"; build "$interpreter"; }
    else
        build "$interpreter"
    fi
    has_dolfinx "$python" || { say "dolfinx does not import from .venv: $python -c 'import hypemarl, dolfinx'"; return 1; }
    wanted >"$stamp"
    rm -f "$started"
    say "ready after $SECONDS s"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main # the tests read it for its functions
