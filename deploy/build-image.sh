#!/bin/sh
# Build the image of server and UI with docker, podman or buildah, whichever is here.
#
#   BASE=<image@digest>   another base than that of deploy/images.env (for instance one that was carried in)
#   MODELS=baked          fetch the default models into the image
#   TORCH_INDEX=          do not ask PyTorch's own index for the CPU build of torch
#   PIP_CONF=<file>       pip.conf of the organisation's index; it enters no layer
set -eu
cd "$(dirname "$0")/.."
. deploy/images.env
if [ -z "${BASE:-}" ]; then
    if [ -z "${BASE_DIGEST:-}" ]; then
        echo "build-image: BASE_DIGEST is empty: put the digest of an image you checked into deploy/images.env" >&2
        exit 2
    fi
    BASE="$BASE_IMAGE@$BASE_DIGEST"
fi
for engine in ${ENGINE:-docker podman buildah}; do
    command -v "$engine" >/dev/null 2>&1 && break
    engine=
done
if [ -z "$engine" ]; then
    echo "build-image: none of docker, podman and buildah is here" >&2
    exit 2
fi
version="$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)"
set -- --file deploy/Dockerfile --tag "strongroom:$version" --build-arg "BASE=$BASE" "$@"
[ -z "${MODELS:-}" ] || set -- "$@" --build-arg "MODELS=$MODELS"
[ -z "${TORCH_INDEX+set}" ] || set -- "$@" --build-arg "TORCH_INDEX=$TORCH_INDEX"
[ -z "${PIP_CONF:-}" ] || set -- "$@" --secret "id=pip,src=$PIP_CONF"
[ "$engine" = docker ] || set -- --format docker "$@" # the OCI format has no health check
echo "build-image: $engine, base $BASE"
exec "$engine" build "$@" .
