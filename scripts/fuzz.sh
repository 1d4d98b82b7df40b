#!/usr/bin/env bash
# Fuzzes every target for an equal share of the seconds given.
set -euo pipefail
cd "$(dirname "$0")/.."
total=${1:-120}
export CGO_ENABLED=0
targets=()
while read -r dir; do
	pkg=./${dir#./}
	while read -r name; do targets+=("$pkg $name"); done < <(grep -hoE '^func (Fuzz[A-Za-z0-9_]+)' "$dir"/*_test.go | awk '{print $2}')
done < <(grep -rlE '^func Fuzz' --include='*_test.go' internal cmd | xargs -n1 dirname | sort -u)
each=$((total / ${#targets[@]}))
[ "$each" -ge 1 ] || each=1
echo "fuzzing ${#targets[@]} targets, ${each}s each"
failed=0
for t in "${targets[@]}"; do
	read -r pkg name <<<"$t"
	run() { go test -run '^$' -fuzz "^${name}\$" -fuzztime "${each}s" -fuzzminimizetime 10x "$pkg" 2>&1; }
	# The tool itself now and then takes its own end of time for a failure:
	# no failing input, only that word. Then once more.
	if ! out=$(run) && { ! grep -q '^ *context deadline exceeded$' <<<"$out" || grep -q 'Failing input' <<<"$out" || ! out=$(run); }; then
		echo "$out"
		failed=1
	else
		echo "ok  $pkg $name $(grep -oE 'execs: [0-9]+' <<<"$out" | tail -1)"
	fi
done
exit $failed
