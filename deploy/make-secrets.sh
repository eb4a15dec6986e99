#!/bin/sh
# Make the secrets that docker-compose.yml mounts: 256 random bits each, readable by the owner alone. Keeps those that exist.
set -eu
folder="${SECRETS_DIR:-$(dirname "$0")/secrets}"
umask 077
mkdir -p "$folder"
for name in server_token qdrant_api_key; do
    if [ -e "$folder/$name" ]; then
        echo "kept $folder/$name"
    else
        (set -C; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$folder/$name")
        echo "made $folder/$name"
    fi
done
if [ "$(id -u)" -eq 0 ]; then
    chown 1000:1000 "$folder/server_token" "$folder/qdrant_api_key" # the user inside the containers
elif [ "$(id -u)" -ne 1000 ]; then
    echo "note: the containers run as uid 1000 and must be able to read these files; you are uid $(id -u)" >&2
fi
