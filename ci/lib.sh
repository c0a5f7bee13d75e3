# shellcheck shell=bash
# Functions that the scripts of this directory share. Sourced, never run. Linux, bash 5.1 or newer.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# Not left to a user's cargo configuration: the scripts start `gauntlet` from here.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# The feature version of the Java that brokers would run on: JAVA_HOME if set, else the PATH, as gauntlet itself looks.
# Prints 17 for "17.0.15" and 8 for "1.8.0_402"; nothing if there is none.
java_version() {
    local java=java text
    [[ -z "${JAVA_HOME:-}" ]] || java="$JAVA_HOME/bin/java"
    text="$("$java" -version 2>&1)" || return 0
    sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' <<<"$text" | head -n 1
}

# Names of Debian packages without which something is missing here, one a line.
missing_packages() {
    local version
    # librdkafka is C++ in part, and built by make.
    command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null || say build-essential
    # What librdkafka is built against.
    command -v pkg-config >/dev/null || say pkg-config
    [[ -e /usr/include/openssl/ssl.h ]] || pkg-config --exists openssl 2>/dev/null || say libssl-dev
    [[ -e /usr/include/zlib.h ]] || pkg-config --exists zlib 2>/dev/null || say zlib1g-dev
    version="$(java_version)"
    ((${version:-0} >= 17)) || say default-jre-headless
    command -v mvn >/dev/null || say maven
    command -v kcat >/dev/null || say kcat
    # For brokers in network namespaces, which need root: others do without.
    ((EUID != 0)) || command -v ip >/dev/null || say iproute2
    ((EUID != 0)) || command -v nft >/dev/null || say nftables
}

# Makes sure that everything is here. As root on Debian it installs what is missing; otherwise it names it and stops.
setup() {
    # rustup is how one gets a toolchain; a Debian package would be too old for the workspace's rust-version.
    command -v cargo >/dev/null || die "cargo is missing; install Rust from https://rustup.rs"
    local missing
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]} > 0)) || return 0
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        die "missing, by their Debian names: ${missing[*]}; install them, or run ci/setup as root"
    fi
    say "installing ${missing[*]}"
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    hash -r
    # An old Java that JAVA_HOME or the PATH prefers is still in the way; apt-get can't know.
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]} == 0)) || die "installed, but not found: ${missing[*]}; check JAVA_HOME and PATH"
}

# Ids of processes that have the given assignment in the environment that they were started with, one a line.
processes_with() {
    # Processes end while we look, and those of other users can't be read: neither matters.
    { grep -lszxF -e "$1" /proc/[0-9]*/environ || true; } | cut -d/ -f3
}

# json_string TEXT: as a JSON string. Control characters are dropped; none of what we quote has a use for them.
json_string() {
    local text
    text="$(tr -d '\000-\037' <<<"$1")"
    text="${text//\\/\\\\}"
    printf '"%s"' "${text//\"/\\\"}"
}

# field NAME TEXT: a member of a JSON object, and the comma behind it.
field() { printf '  "%s": %s,\n' "$1" "$(json_string "$2")"; }

# The commit that is checked out. What a tree did that nobody else has is marked as such.
commit_as_built() {
    local mark=""
    [[ -z "$(git status --porcelain --untracked-files=no)" ]] || mark=", changed"
    say "$(git rev-parse HEAD)$mark"
}

# evidence_head COMMAND COMMIT: the first members of every file of evidence: what saw it, when and where.
evidence_head() {
    field commit "$2"
    field written_at "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    field command "$1"
    field host "$(nproc) cores of $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)"
    field kernel "$(uname -sr)"
    field java "$(java_version)"
}

# evidence COMMAND COMMIT ROWS: a JSON object of what COMMAND saw, one line of JSON per row in the file ROWS, and where.
evidence() {
    local row separator=""
    say "{"
    evidence_head "$1" "$2"
    printf '  "rows": ['
    while read -r row; do
        printf '%s\n    %s' "$separator" "$row"
        separator=","
    done <"$3"
    printf '\n  ]\n}\n'
}

# Sets `scratch`: a directory that goes when the script ends. A signal ends it only once the command under way has ended, which may be
# writing there.
make_scratch() {
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}
