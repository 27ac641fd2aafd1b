#!/usr/bin/env bash
# Installs the Debian packages that t2v needs and that are missing. As root, or with sudo.
set -eu
packages=(libzmq3-dev libopenblas-dev libpcre2-dev libsodium-dev zlib1g-dev g++ binutils python3-venv iproute2)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ! command -v swift >/dev/null; then
  echo "error: no Swift compiler on PATH; install Swift 6 from https://www.swift.org/install/linux/" >&2
  exit 2
fi
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
"${as_root[@]}" apt-get update -q
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
