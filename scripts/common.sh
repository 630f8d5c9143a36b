# Sourced by the scripts beside it: where the project is, and how they speak.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

if [[ -t 1 ]]; then
    bold=$'\e[1m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' red='' plain=''
fi

step() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }
warn() { printf '%s%s: %s%s\n' "$red" "$(basename "$0")" "$*" "$plain" >&2; }
die() {
    warn "$@"
    exit 1
}
