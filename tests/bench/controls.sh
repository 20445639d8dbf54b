#!/usr/bin/env bash
# What must tell a classifier nothing, and what must not change it, on the three bacteria of the larger public data (data/README.md of that folder):
#   controls.sh DATA OUT
# DATA, MAMBASE: as of species.sh, whose samples these are. Trains preset tiny from scratch in windows of 1 kb, three times: as the genomes come; where lower case,
# the names of contigs and runs of N would give each species away; and where the labels of pieces of 10 kb are drawn by lot. A line each: what, figure, whether it
# holds; exit status 1 where one does not. Run again it goes on where it was.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
data=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
export MAMBASE=${MAMBASE:-mambase}
steps=300
recipe=(--batch 16 --lr 5e-3)
failed=0

verdict() { # WHAT FIGURE COMMAND…
    local holds=holds
    "${@:3}" || { holds='DOES NOT HOLD' && failed=1; }
    printf '%s\t%s\t%s\n' "$1" "$2" "$holds"
}

train() { # NAME SAMPLES STEPS [OPTIONS]: OUT/NAME, from the fresh model of the plain run
    "$MAMBASE" classify train -q --no-PG -m "$plain/fresh" -o "$out/$1" --samples "$2" --context 1000 --steps "$3" "${recipe[@]}" "${@:4}"
}

evaluate() { # NAME SAMPLES TABLE [OPTIONS]
    "$MAMBASE" classify evaluate -q -m "$out/$1" --samples "$2" -o "$out/$3" "${@:4}" 2>/dev/null
}

figure() { # TABLE CLASSIFIER LABEL [COLUMN]: accuracy with its interval, or a column
    awk -F '\t' -v classifier="$2" -v label="$3" -v column="${4:-0}" \
        '$1 == classifier && $2 == label { print column ? $column : $4 " (" $5 " to " $6 ")" }' "$out/$1"
}

# shellcheck disable=SC2317  # called by verdict
overlap() { # TABLE TABLE: the intervals of the model's accuracy
    awk -v a="$(figure "$1" model all 5)" -v b="$(figure "$1" model all 6)" -v c="$(figure "$2" model all 5)" -v d="$(figure "$2" model all 6)" \
        'BEGIN { exit !(a <= d && c <= b) }'
}

# shellcheck disable=SC2317
covers() { # TABLE CLASSIFIER VALUE: the interval of the mean over labels
    awk -v low="$(figure "$1" "$2" balanced 5)" -v high="$(figure "$1" "$2" balanced 6)" -v value="$3" 'BEGIN { exit !(low <= value && value <= high) }'
}

# shellcheck disable=SC2317
same() { # FILE FILE [FILE FILE …]
    while [ $# -gt 0 ]; do
        cmp "$out/$1" "$out/$2" || return 1
        shift 2
    done
}

plain=$out/plain/bacteria
"$here/species.sh" "$data" "$out/plain" - bacteria -q --no-PG --steps $steps "${recipe[@]}" >/dev/null 2>&1
verdict 'as they come: accuracy' "$(figure plain/bacteria/eval.tsv model all)" test "$(figure plain/bacteria/eval.tsv model all 4)" '>' 0.95

# E. coli in lower case, a line of N in every 250 lines of H. pylori, contigs named for their species; "cased" is without the N.
mkdir -p "$out/marked" "$out/cased"
while IFS=$'\t' read -r path label; do
    zcat "$path" | awk -v name="chromosome_of_$label" '/>/ { $0 = ">" name } { print }' |
        if [ "$label" = EColi ]; then sed '/>/!y/ACGT/acgt/'; else cat; fi >"$out/cased/$label.fa"
    if [ "$label" = HPylori ]; then awk 'NR % 250 == 0 { gsub(/./, "N") } { print }'; else cat; fi <"$out/cased/$label.fa" >"$out/marked/$label.fa"
done < <(tail -n +2 "$plain/samples.tsv" | cut -f 1,2 | sort -u)
for kind in marked cased; do
    awk -F '\t' -v OFS='\t' -v dir="$out/$kind" 'NR > 1 { $1 = dir "/" $2 ".fa"; sub(/^\{[^}]*\}/, "chromosome_of_" $2, $3) } { print }' \
        "$plain/samples.tsv" >"$out/$kind.tsv"
done
train model.marked "$out/marked.tsv" $steps
evaluate model.marked "$out/marked.tsv" marked.eval.tsv
evaluate model.marked "$plain/samples.tsv" removed.eval.tsv
verdict 'case, N and names tell: accuracy' "$(figure marked.eval.tsv model all)" overlap marked.eval.tsv plain/bacteria/eval.tsv
verdict 'the same model, those removed' "$(figure removed.eval.tsv model all)" overlap removed.eval.tsv marked.eval.tsv

# Short runs, of which bytes are compared.
train model.plain20 "$plain/samples.tsv" 20 -@0
train model.cased20 "$out/cased.tsv" 20 -@0
train model.threads20 "$plain/samples.tsv" 20 -@3
verdict 'case and names change weights' 'no bit in 20 steps' same model.plain20/model.safetensors model.cased20/model.safetensors \
    model.plain20/metrics.jsonl model.cased20/metrics.jsonl
verdict '-@0 and -@3 change weights' 'no bit in 20 steps' same model.plain20/model.safetensors model.threads20/model.safetensors \
    model.plain20/classifier.json model.threads20/classifier.json model.plain20/metrics.jsonl model.threads20/metrics.jsonl

# Reads of 150 to 1,500 bases out of the test parts, and their reverse complements.
while IFS=$'\t' read -r path label; do
    zcat "$path" | grep -v '>' | tr -d '\n' | awk -v label="$label" '{
        for (i = 0; i < 700; i++) print ">" label i "\n" substr($0, int(length($0) * 0.8) + i * 400, 150 + i * 27 % 1351)
    }'
done < <(tail -n +2 "$plain/samples.tsv" | cut -f 1,2 | sort -u) >"$out/reads.fa"
while read -r line; do
    case $line in '>'*) echo "$line" ;; *) echo "$line" | rev | tr ACGT TGCA ;; esac
done <"$out/reads.fa" >"$out/mirrored.fa"
for reads in reads mirrored; do
    "$MAMBASE" classify predict -q -m "$plain/model" --probs "$out/$reads.probs" "$out/$reads.fa" 2>/dev/null | cut -f 1-4 >"$out/$reads.calls"
done
verdict 'reads and their reverse complements' "$(wc -l <"$out/reads.calls") calls and probabilities the same" same reads.calls mirrored.calls reads.probs mirrored.probs

# Labels by lot (MINSTD), of pieces of 10 kb: eight to train, one to validate, one to test.
tail -n +2 "$plain/samples.tsv" | awk -F '\t' -v OFS='\t' 'BEGIN { print "path", "label", "region", "split"; x = 1 } $4 == "test" {
    match($3, /^\{[^}]*\}:/); name = substr($3, 1, RLENGTH); end = substr($3, RLENGTH + 1); sub(/.*-/, "", end)
    for (i = 0; (i + 1) * 10000 <= end + 0; i++) {
        x = x * 16807 % 2147483647
        print $1, substr("abc", int(x / 1000) % 3 + 1, 1), name i * 10000 + 1 "-" (i + 1) * 10000, i % 10 < 8 ? "train" : i % 10 == 8 ? "valid" : "test"
    }
}' >"$out/shuffled.tsv"
train model.shuffled "$out/shuffled.tsv" $steps
evaluate model.shuffled "$out/shuffled.tsv" shuffled.eval.tsv --kmer-baseline 6
for classifier in model kmer-6; do
    verdict "labels by lot, $classifier: mean over labels" "$(figure shuffled.eval.tsv $classifier balanced)" covers shuffled.eval.tsv $classifier 0.3333
done
exit $failed
