#!/usr/bin/env bash
# What streams take in memory and under TMPDIR while they are embedded from standard input, however long they are:
#   flat_stream.sh DIR genome GENOME.fa.gz [options of embed]   bins of 1,000 bases, both strands
#   flat_stream.sh DIR reads GB [options of embed]              a row a read, both strands, of GB x 10^9 bytes of FASTQ that is made on the way
#   flat_stream.sh DIR count GB                                 the same stream read alone, its letters counted
# DIR: made, for what is written; the output needs its space there, the stream none. MODEL: a model directory, else one of 8 numbers and one block is made. MAMBASE
# names the program (else the one on PATH). Prints a line: bytes of the stream, peak of resident memory, peak of the unnamed files under TMPDIR, seconds. Non-zero
# exit where 400 MB resident are passed.
set -euo pipefail
mkdir -p "$1"
dir=$(realpath "$1") what=$2 of=$3
shift 3
mambase=${MAMBASE:-mambase}
bar=400000 # kB

# 16 MB of reads of 150 random bases, named as sequencers do, again and again; only names, which may come twice, repeat with them.
reads() {
    local block=$dir/block.fq bytes left=$((of * 1000000000))
    awk 'BEGIN {
        srand(1)
        quality = sprintf("%150s", ""); gsub(/ /, "F", quality)
        for (i = 0; i < 45000; i++) {
            read = ""
            for (j = 0; j < 150; j++) read = read substr("ACGT", 1 + int(4 * rand()), 1)
            printf "@M00001:7:000000000-FLAT0:1:1101:%d:%d 1:N:0:1\n%s\n+\n%s\n", 10000 + i % 300, 1000 + i, read, quality
        }
    }' >"$block"
    bytes=$(stat -c %s "$block")
    echo $(((left + bytes - 1) / bytes * bytes)) >"$dir/bytes"
    for (( ; left > 0; left -= bytes)); do
        cat "$block"
    done
}

# Peak of kB in use by files without a name that the process has open: what waits under TMPDIR.
watch_unnamed() { # PID
    local blocks all most=0
    while [ -e "/proc/$1" ]; do
        all=0
        while read -r blocks; do
            all=$((all + blocks / 2))
        done < <(find "/proc/$1/fd" -lname '* (deleted)' -exec stat -L -c %b {} + 2>/dev/null)
        most=$((all > most ? all : most))
        echo $most >"$dir/unnamed"
        sleep 0.5
    done
}

measure() { # COMMAND…: with the stream on standard input
    local timer
    rm -f "$dir/pid"
    (exec time -o "$dir/time" -f '%M %e' sh -c 'echo $$ >"$0"; exec "$@"' "$dir/pid" "$@" < <(stream)) &
    timer=$!
    until [ -s "$dir/pid" ]; do sleep 0.1; done
    watch_unnamed "$(cat "$dir/pid")"
    wait $timer
}

model=${MODEL:-$dir/least}
if [ ! -e "$model" ]; then
    awk 'BEGIN { srand(2); print ">x"; for (i = 0; i < 60000; i++) printf "%s", substr("ACGT", 1 + int(4 * rand()), 1); print "" }' >"$dir/random.fa"
    "$mambase" pretrain -q -o "$model" --preset tiny --d-model 8 --layers 1 --d-state 1 --dt-rank 1 --bases 20k "$dir/random.fa"
fi
case $what in
    genome)
        gzip -dc "$of" | wc -c >"$dir/bytes"
        stream() { gzip -dc "$of"; }
        measure "$mambase" embed -q -m "$model" --pool bin:1000 --strand concat -o "$dir/genome.npy" "$@" -
        ;;
    reads)
        stream() { reads; }
        measure "$mambase" embed -q -m "$model" --pool mean -o "$dir/reads.npy" "$@" -
        ;;
    count)
        stream() { reads; }
        measure "$mambase" tokenize -q --counts -o /dev/null "$@" -
        ;;
    *) echo "flat_stream.sh: no stream '$what'" >&2 && exit 2 ;;
esac
read -r resident seconds <"$dir/time"
printf '%s: stream %s bytes, resident %s kB, under TMPDIR %s kB, %s s\n' "$what" "$(cat "$dir/bytes")" "$resident" "$(cat "$dir/unnamed")" "$seconds"
[ "$resident" -le $bar ] || { echo "flat_stream.sh: over $bar kB resident" >&2 && exit 1; }
