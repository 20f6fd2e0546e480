#!/bin/sh
# Installs the packages of a node into a folder that the node then only reads:
#   install.sh FOLDER PACKAGE...
# A PACKAGE is the path of a tarball, or a name in the registry such as @cairn/cli@0.2.0.
set -eu

if [ $# -lt 2 ]; then
  echo "usage: install.sh FOLDER PACKAGE..." >&2
  exit 2
fi
folder=$1
shift
here=$(cd "$(dirname "$0")" && pwd)

# The user under which the node runs must be able to reach the folder, whatever the umask of whoever installs it.
umask 022
mkdir -p "$folder/bin"
# No install script is needed: classic-level, the binding of LevelDB, contains its binaries.
npm install --prefix "$folder" --ignore-scripts --omit=dev --no-audit --no-fund "$@"
ln -sf ../node_modules/.bin/cairn "$folder/bin/cairn"
cp "$here/healthcheck.mjs" "$folder/healthcheck.mjs"
# The user under which the node runs may read everything, and nobody needs to write.
chmod -R a+rX,a-w "$folder"
