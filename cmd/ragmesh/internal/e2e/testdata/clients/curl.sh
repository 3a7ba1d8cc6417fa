#!/usr/bin/env bash
# Holds a conversation with nothing but curl, and prints the events as they come, one a line. docs/api.md has the same.
# bash curl.sh SERVER QUESTION FOLLOW_UP
set -euo pipefail
server=$1 question=$2 follow_up=$3

# ask JSON: a streamed procedure. Messages are enveloped: a byte of flags, four of length, the JSON.
ask() {
	local n
	n=$(printf %s "$1" | wc -c)
	{
		printf "\\000$(printf '\\%03o' $((n >> 24 & 255)) $((n >> 16 & 255)) $((n >> 8 & 255)) $((n & 255)))"
		printf %s "$1"
	} | curl -sS -N --max-time 50 -H 'Content-Type: application/connect+json' --data-binary @- "$server/ragmesh.dialog.v1.DialogService/Chat" |
		LC_ALL=C tr '\n' ' ' | LC_ALL=C sed 's/[\x00\x02]....{/\n{/g' | LC_ALL=C grep -a '^{'
}

first=$(ask "{\"question\": \"$question\"}")
session=$(grep -o '"sessionId": *"[^"]*"' <<<"$first" | head -1 | cut -d'"' -f4)
echo "$first"
echo '{"next": true}'
ask "{\"question\": \"$follow_up\", \"sessionId\": \"$session\"}"
echo '{"next": true}'
curl -sS --max-time 50 -H 'Content-Type: application/json' -d '{"turnId": "no-such-turn"}' "$server/ragmesh.dialog.v1.DialogService/GetTurn"
echo
