#!/usr/bin/env bash
# Makes sure that the tools of an SDK's language are there: toolchain.sh typescript|ruby|rust
#
# What is missing is installed with apt-get, if there is one and it may be used; otherwise this says what is missing and
# fails. Nothing is changed where the tools are there.
set -euo pipefail

language=${1:?which language: typescript, ruby or rust}

# Whether version $1 is at least $2.
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# The version that a command prints, or 0.
version_of() { ("$@" 2>/dev/null || true) | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1 || true; }

ready() {
    case $language in
        typescript) at_least "$(version_of node --version)" 18.0 && command -v npm >/dev/null ;;
        ruby) at_least "$(version_of ruby --version)" 3.1 && command -v rspec >/dev/null &&
            command -v rubocop >/dev/null ;;
        rust) at_least "$(version_of cargo --version)" 1.85 && cargo fmt --version >/dev/null 2>&1 &&
            cargo clippy --version >/dev/null 2>&1 && command -v cc >/dev/null ;;
    esac
}

# The version of a package that apt-get would install, or 0.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/ *Candidate: *\([0-9.]*\).*/\1/p'; }

packages() {
    case $language in
        typescript) echo nodejs npm ;;
        ruby) echo ruby ruby-rspec rubocop ;;
        # Debian 12 keeps a current compiler beside its old one, for browsers.
        rust) if at_least "$(candidate rustc)" 1.85; then echo cargo rustfmt rust-clippy gcc libc6-dev
            else echo cargo-web rustfmt-web rust-web-clippy gcc libc6-dev; fi ;;
    esac
}

case $language in
    typescript) wanted="Node.js 18 or later with npm" ;;
    ruby) wanted="Ruby 3.1 or later with RSpec and RuboCop" ;;
    rust) wanted="Rust 1.85 or later with cargo, rustfmt and clippy, and a C compiler" ;;
    *) echo "toolchain.sh: $language is not one of typescript, ruby, rust" >&2; exit 2 ;;
esac

ready && exit 0

if command -v apt-get >/dev/null; then
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    echo "The $language SDK needs $wanted; installing it with apt-get" >&2
    if "${as_root[@]}" apt-get update -qq; then
        read -ra names <<<"$(packages)"
        DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${names[@]}" >&2 ||
            echo "apt-get could not install ${names[*]}" >&2
        hash -r
    fi
fi

ready && exit 0

cat >&2 <<MESSAGE
The $language SDK needs $wanted (Debian packages: $(packages)).
Install that, or leave the language out on purpose with TASKER_SKIP_SDKS=$language (several: typescript,ruby,rust).
MESSAGE
exit 1
