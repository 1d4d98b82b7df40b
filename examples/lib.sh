# Sourced by the run.sh of each example: a temporary folder, free ports, a
# Casement server on them, checks that stop the example when one does not hold.
# CASEMENT names the binary; without it one is built from this checkout.
# Everything that was started is stopped, by pid; the folder goes when all held.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/casement-example.XXXXXX")
pids=()

finish() {
	code=$?
	# The last started first, each given 5 s: a server whose store is gone may
	# never end by itself.
	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		p=${pids[i]}
		kill "$p" 2>/dev/null || continue
		for ((n = 0; n < 50; n++)); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
		kill -9 "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
	if [ "$code" = 0 ]; then rm -rf "$work"; else echo "stopped with $code; see $work" >&2; fi
}
trap finish EXIT

step() { printf '\n%s\n' "$*"; }
say() { printf '  %s\n' "$*"; }
fail() { printf '  FAILED: %s\n' "$*"; exit 1; }

# expect WHAT WANT GOT
expect() {
	[ "$2" = "$3" ] || fail "$1: want $2, got $3"
	printf '  %-52s %s\n' "$1" "$3"
}

# port prints a free loopback port.
port() { node -e 's=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }

# until WHAT SECONDS COMMAND...: until the command succeeds.
until_ok() {
	local what=$1 n=$(($2 * 5))
	shift 2
	until "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ "$n" -gt 0 ] || fail "$what did not come about in time"
		sleep 0.2
	done
}

# field EXPRESSION: of the JSON on standard input, as node sees it in x.
field() { node -e 'x=JSON.parse(require("fs").readFileSync(0,"utf8"));v=eval(process.argv[1]);process.stdout.write(String(v)+"\n")' "$1"; }

# casement COMMAND...: the command line, against this example's folder.
casement() { "$CASEMENT" --no-input --config "$here/casement.yaml" --data "$work/data" "$@"; }

# prepare: the binary, the people of the example, the server.
prepare() {
	if [ -z "${CASEMENT:-}" ]; then
		(cd "$root" && CGO_ENABLED=0 go build -trimpath -o bin/casement ./cmd/casement)
		CASEMENT=$root/bin/casement
	fi
	CASEMENT_SERVER_LISTEN=127.0.0.1:$(port)
	export CASEMENT CASEMENT_SERVER_LISTEN
	export PASSWORD=${PASSWORD:-example-only-$RANDOM$RANDOM}
	casement config validate --quiet >/dev/null
	casement policy test --quiet "$here/policy" >/dev/null || fail "the policy's own tests"
	"$CASEMENT" --config "$here/casement.yaml" serve --data "$work/data" 2>"$work/serve.log" &
	pids+=($!)
	until_ok "the server" 20 curl -fs "http://$CASEMENT_SERVER_LISTEN/readyz"
}

# api PATH: reads the server's API, with the token that lies beside its data for
# the commands of this machine.
api() { curl -fs -H "Authorization: Bearer $(field x.token <"$work/data/server.json")" "http://$CASEMENT_SERVER_LISTEN/api/v1$1"; }

# ticket T-NUMBER EXPRESSION: of a ticket of the built-in tracker.
ticket() { api "/tickets/${1#T-}" | field "$2"; }

# person NAME ROLES
person() { casement user add "$1" --roles "$2" --mail "$1@example.com" --password env:PASSWORD --quiet >/dev/null; }

# the_case: the id of the only case.
the_case() { casement --quiet case list -o json | field 'x[0].id'; }

# state CASE
state() { casement --quiet case show "$1" -o json | field 'x.state'; }

in_state() { [ "$(state "$1")" = "$2" ]; }
