# Sourced by the scripts beside it. Each builds one real server once per
# version and prints the path of its binary; with --cached it builds nothing
# and ends with 3 when the binary is not there.
# CASEMENT_CACHE moves the cache (default ~/.cache/casement).

# target NAME VERSION: sets dir and bin; prints bin and ends when it is built.
target() {
	dir="${CASEMENT_CACHE:-$HOME/.cache/casement}/targets/$1-$2"
	bin="$dir/$1"
	if [ -x "$bin" ]; then
		echo "$bin"
		exit 0
	fi
	if [ "${mode:-}" = --cached ]; then
		echo "$1 $2 is not built: make targets builds it once" >&2
		exit 3
	fi
	mkdir -p "$dir"
	tmp=$(mktemp -d "$dir/build.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	cd "$tmp" # outside our module, so that its go.mod stays as it is
	echo "building $1 $2 (once; cached in $dir)" >&2
}

# done_target: moves the built binary to its place and prints it.
done_target() {
	mv "$tmp/$(basename "$bin")" "$bin"
	echo "$bin"
}
