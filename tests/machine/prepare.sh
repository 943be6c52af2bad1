#!/usr/bin/env bash
# Installs what the tests in a virtual machine need (Debian, as root). The kernel is only unpacked: this machine never boots it.
set -euo pipefail
kernel=/var/lib/runner-tests/kernel

apt-get update -qq
apt-get install -y -qq --no-install-recommends qemu-system-x86 busybox-static e2fsprogs
if ! compgen -G "$kernel/boot/vmlinuz-*-cloud-amd64" >/dev/null; then
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/ Depends: linux-image-/ {print $2; exit}')
  directory=$(mktemp -d)
  trap 'rm -rf "$directory"' EXIT
  chmod 755 "$directory"
  (cd "$directory" && apt-get download -qq "$package")
  mkdir -p "$kernel"
  dpkg -x "$directory"/*.deb "$kernel"
fi
