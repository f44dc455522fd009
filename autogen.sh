#!/bin/sh
# Makes ./configure from configure.ac.
set -e
cd "$(dirname "$0")"
for tool in autoreconf automake libtoolize pkg-config; do
  if ! command -v $tool >/dev/null; then
    echo "$tool is missing: apt-get install autoconf automake libtool pkg-config" >&2
    exit 1
  fi
done
mkdir -p m4
autoreconf -fi
