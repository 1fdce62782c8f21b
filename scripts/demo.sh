#!/usr/bin/env bash
# Shows Larder at work on the credit-scoring example: declare, materialize, serve, push, train, score; and the proof that
# training equals serving. Everything happens in a temporary folder and on free ports, and is gone afterwards.
#
#   scripts/demo.sh
#
# LARDER_BIN            a larder command to show instead of building one
# DEMO_CUSTOMERS, DEMO_ROWS, DEMO_EVENTS, DEMO_SPINE, DEMO_ENTITIES, DEMO_CALLS    sizes
# DEMO_KEEP=1           leaves the folder
set -euo pipefail
# Times with a point in every locale.
export LC_ALL=C

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(dirname "$here")"
example="$root/examples/credit-scoring"

customers="${DEMO_CUSTOMERS:-100000}"
rows="${DEMO_ROWS:-2000000}"
events="${DEMO_EVENTS:-20000}"
spine="${DEMO_SPINE:-50000}"
entities="${DEMO_ENTITIES:-6000}"
calls="${DEMO_CALLS:-2000}"
late=1000

folder="" larder_pid="" model_pid="" closed=""

main() {
    local began
    "$here/require.sh"
    began="$EPOCHREALTIME"
    prepare
    title "Data: $(grouped "$rows") rows of history of $(grouped "$customers") customers, seeded, late and broken rows among them"
    make_data
    title "Larder in one process, on an empty folder"
    start_larder
    title "Declare: four views and two feature services in one YAML file"
    declare_features
    title "Materialize: history into the online store"
    materialize
    title "Serve, push, serve"
    serve_and_push
    title "A file arrives whose rows are weeks old"
    bring_late_rows
    title "Train: features as they were at the time of each application"
    train
    title "Score: a model server on stubs generated from proto/"
    score
    title "Online latency"
    in_example latency.py --calls "$calls" --customers "$customers" --serving "$serving"
    title "The proof: what was served, and a training set of the same entities at the same instants, bit for bit"
    in_example prove.py --data data --larder "$larder" --repository . --serving "$serving" --entities "$entities"
    title "Stop"
    stop_larder
    echo
    echo "the demo took $(since "$began") s"
}

# --- steps --------------------------------------------------------------------------------------------------------------

prepare() {
    local began
    python_program="$("$here/python-env.sh")"
    if [ -n "${LARDER_BIN:-}" ]; then
        larder="$(absolute "$LARDER_BIN")"
    else
        title "Build (minutes the first time)"
        began="$EPOCHREALTIME"
        (cd "$root" && cargo build --profile demo -p larder-cli)
        larder="$(absolute "$root" "${CARGO_TARGET_DIR:-target}")/demo/larder"
        took "$began"
    fi
    trap 'close $?' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    folder="$(mktemp -d "${TMPDIR:-/tmp}/larder-demo.XXXXXX")"
    cp "$example/larder.yaml" "$folder"
    cd "$folder"
    ports
}

# The process opens them a moment later: whoever takes one in between makes the demo fail with a plain message.
ports() {
    local registry push_ingest materializer
    read -r registry serving push_ingest materializer admin < <(
        python - <<'PYTHON'
import socket

listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
print(*(f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners))
PYTHON
    )
    push="$push_ingest"
    export LARDER__REGISTRY__SERVER__LISTEN="$registry" LARDER__CLIENT__REGISTRY="http://$registry"
    export LARDER__SERVING__SERVER__LISTEN="$serving" LARDER__CLIENT__SERVING="http://$serving"
    export LARDER__PUSH_INGEST__SERVER__LISTEN="$push_ingest" LARDER__CLIENT__PUSH_INGEST="http://$push_ingest"
    export LARDER__MATERIALIZER__SERVER__LISTEN="$materializer" LARDER__CLIENT__MATERIALIZER="http://$materializer"
    export LARDER__SERVING__SERVER__ADMIN_LISTEN="$admin"
}

make_data() {
    # The history ends now: rows of some customers pass their ttl while the demo runs.
    in_example generate.py --customers "$customers" --rows "$rows" --events "$events" --spine "$spine" --out data \
        --end "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
}

start_larder() {
    local began="$EPOCHREALTIME"
    echo "\$ larder up --data larder-data &"
    "$larder" up --data larder-data >larder.log 2>&1 &
    larder_pid=$!
    until ready; do
        kill -0 "$larder_pid" 2>/dev/null || fail "larder up ended before it was ready"
        [ "${EPOCHREALTIME%.*}" -lt $((${began%.*} + 30)) ] || fail "larder up was not ready within 30 s"
        sleep 0.02
    done
    echo "ready after $(since "$began") s"
}

ready() {
    curl_to "http://$admin/readyz" >/dev/null 2>&1
}

declare_features() {
    show validate
    show plan
    show apply --yes --message "first"
    echo
    show describe credit_scoring_service
    show search risk score --limit 5
    show lineage credit_scoring_features.fraud_probability
    show docs --out catalogue.md
}

materialize() {
    local began="$EPOCHREALTIME" seconds
    show materialize
    seconds="$(since "$began")"
    echo "$(grouped "$rows") rows in $seconds s: $(rate "$rows" "$seconds") rows/s"
}

serve_and_push() {
    local customer="CUST00000042"
    show online credit_scoring_service customer_id="$customer" loan_amount=12000
    echo
    echo "Events from a file: what channels saw of the customers in the last weeks"
    show push real_time_push_source --file data/push/real_time_events.jsonl
    echo
    echo "Events that will have passed their ttl of 24 hours when the proof is made"
    in_example generate.py expiring --out data --rows "$(least 500 $((customers / 20)))" --seconds 8
    show push real_time_push_source --file data/push/expiring_events.jsonl
    # The proof needs the instant to have passed.
    expired_at=$((${EPOCHREALTIME%.*} + 9))
    echo
    echo "One event by hand, and what is served the moment the push returns"
    show push real_time_push_source customer_id="$customer" current_balance=-1234.5 last_transaction_amount=99.5 \
        login_attempts_24h=7 device_fingerprint_score=0.875 ip_risk_score=0.25 session_duration=61
    show online --features real_time_features.current_balance,real_time_features.login_attempts_24h customer_id="$customer" |
        tee served.txt
    grep -q -e '-1234.5' served.txt || fail "the pushed balance is not served"
    echo
    echo "A deletion is a row too: it ends what was known, here and in training"
    customer="$(python -c 'import json; print(json.loads(open("data/push/expiring_events.jsonl").readline())["customer_id"])')"
    show push real_time_push_source customer_id="$customer" --delete
    show online --features real_time_features.current_balance customer_id="$customer" | tee served.txt
    grep -q NOT_FOUND served.txt || fail "the deleted row of $customer is still served"
}

bring_late_rows() {
    local customer
    in_example generate.py late --out data --rows "$(least "$late" $((rows / 100)))"
    customer="$(python -c 'import json; print(json.load(open("data/manifest.json"))["late_customers"][0])')"
    show online --features transaction_features.total_transaction_amount_30d customer_id="$customer" | tee served.txt
    grep -q NOT_FOUND served.txt || fail "$customer was not expected to have transactions yet"
    show materialize --incremental
    show online --features transaction_features.total_transaction_amount_30d customer_id="$customer" | tee served.txt
    ! grep -q NOT_FOUND served.txt || fail "the late row of $customer did not reach the online store"
    show runs list
}

train() {
    show train credit_scoring_service --spine data/spine.parquet --out training.parquet
    echo
    in_example train_model.py training.parquet --model model.joblib
}

score() {
    local url
    in_background model.log model_server.py --model model.joblib --port 0 --serving "$serving" --push "$push"
    model_pid=$!
    until url="$(sed -n 's/^listening on //p' model.log)" && [ -n "$url" ]; do
        kill -0 "$model_pid" 2>/dev/null || fail "the model server ended: $(cat model.log)"
        sleep 0.05
    done
    echo "\$ curl $url/score -d '{\"customer_id\": \"CUST00000042\", \"loan_amount\": 12000}'"
    curl_to "$url/score" '{"customer_id": "CUST00000042", "loan_amount": 12000}' | shortened
    # It pushes what it learnt: it ends before the proof, so that nothing is written meanwhile.
    kill "$model_pid"
    wait "$model_pid" 2>/dev/null || true
    model_pid=""
    while [ "${EPOCHREALTIME%.*}" -lt "$expired_at" ]; do sleep 0.1; done
}

stop_larder() {
    local began="$EPOCHREALTIME" status=0
    kill -TERM "$larder_pid"
    wait "$larder_pid" || status=$?
    larder_pid=""
    [ "$status" -eq 0 ] || fail "larder up ended with $status"
    echo "larder up ended by itself, $(since "$began") s after it was asked to"
}

# --- what the steps are made of -----------------------------------------------------------------------------------------

title() {
    printf '\n== %s\n' "$*"
}

# Shows a command, runs it, and says how long it took.
show() {
    local began="$EPOCHREALTIME"
    echo "\$ larder $*"
    "$larder" "$@"
    took "$began"
}

took() {
    echo "  ($(since "$1") s)"
}

since() {
    awk -v began="$1" -v now="$EPOCHREALTIME" 'BEGIN { printf "%.2f", now - began }'
}

rate() { # how many, in seconds
    grouped "$(awk -v count="$1" -v seconds="$2" 'BEGIN { printf "%d", count / (seconds > 0 ? seconds : 0.01) }')"
}

grouped() { # 2000000 as 2,000,000
    awk -v number="$1" 'BEGIN { while (match(number, /[0-9][0-9][0-9][0-9]($|,)/)) number = substr(number, 1, RSTART) "," substr(number, RSTART + 1); print number }'
}

least() {
    echo $(($1 < $2 ? $1 : $2))
}

absolute() { # parts of a path, of which a later one may be absolute itself
    python -c 'import os, sys; print(os.path.abspath(os.path.join(*sys.argv[1:])))' "$@"
}

python() {
    PYTHONDONTWRITEBYTECODE=1 "$python_program" "$@"
}

# A script of the example.
in_example() {
    local script="$1"
    shift
    python "$example/$script" "$@"
}

in_background() { # the log, then a script of the example and its arguments; its process is $!
    local log="$1" script="$2"
    shift 2
    PYTHONDONTWRITEBYTECODE=1 "$python_program" -u "$example/$script" "$@" >"$log" 2>&1 &
}

# GET, or POST of the second argument. Python, since there may be no curl.
curl_to() {
    python -c 'import sys, urllib.request as r; print(r.urlopen(r.Request(sys.argv[1], *(a.encode() for a in sys.argv[2:])), timeout=10).read().decode())' "$@"
}

# The main parts of a score.
shortened() {
    python -c 'import json, sys; answer = json.load(sys.stdin); print(json.dumps({name: answer[name] for name in ("score", "risk_level", "confidence", "default_probability", "not_present", "learnt") if name in answer}, indent=2))'
}

fail() {
    echo "demo: $*" >&2
    exit 1
}

# Ends what was started and removes the folder, however the demo ends. A second Ctrl-C does not keep it from that.
close() {
    local status="$1" pid
    trap '' INT TERM HUP
    [ -z "$closed" ] || return
    closed=1
    # Above 128 it was interrupted: nothing went wrong.
    if [ "$status" -ne 0 ] && [ "$status" -le 128 ] && [ -s "$folder/larder.log" ]; then
        echo "the last words of larder up:" >&2
        tail -n 20 "$folder/larder.log" >&2
    fi
    for pid in $model_pid $larder_pid; do
        kill -TERM "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || true
    done
    if [ -n "${DEMO_KEEP:-}" ]; then
        echo "kept: $folder" >&2
    else
        cd /
        rm -rf "$folder"
    fi
    exit "$status"
}

main "$@"
