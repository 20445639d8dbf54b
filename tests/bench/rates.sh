#!/usr/bin/env bash
# Reading beside the tools that people use, on the same input with the same threads, in turns:
#   rates.sh DATA [REPEATS]
# DATA: the folder of larger public data. BAM: `samtools fasta` and `mambase tokenize`; FASTQ: `seqtk seq -A` and `mambase tokenize`. Each writes one file, ours an
# array of a byte a token and a table of its rows. Medians, million bases a second by the clock.
set -euo pipefail
data=$(realpath "$1") repeats=${2:-5}
mambase=${MAMBASE:-mambase}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

times() { # N FILE…: N copies of BAM files with one header
    local n=$1 i
    shift
    for ((i = 0; i < n; ++i)); do printf '%s\n' "$@"; done
}
samtools cat -o short.bam $(times 60 "$data/reads/dmel_rnaseq.chr2L_2M-3M.bam")
samtools cat -o long.bam $(times 60 "$data/reads/NA12878.hifi.chr21_5.01-5.41M_hg38.unmapped.bam")
zcat $(times 40 "$data/reads/illumina_10K.fastq.gz") >short.fq
bgzip -kc short.fq >short.fq.gz

bases() { 
    { case $1 in *.bam) samtools fasta "$1" ;; *) seqtk seq -A "$1" ;; esac; } 2>/dev/null | awk '!/^>/ { n += length($0) } END { print n }'
}

compare() { # NAME FILE COMMAND… (one string each)
    local name=$1 file=$2 command n start i
    shift 2
    n=$(bases "$file")
    for ((i = 0; i < repeats; ++i)); do
        for command in "$@"; do
            start=$(date +%s%N)
            bash -c "$command" 2>/dev/null
            printf '%s\t%s\t%s\n' "$name" "$command" $((($(date +%s%N) - start) / 1000))
        done
    done | sort -t $'\t' -k 2,2 -k 3,3n |
        awk -F '\t' -v n="$n" -v most="$repeats" '{ at[$2]++; if (at[$2] == int((most + 1) / 2)) printf "%-12s %7.1f Mbase/s  %s\n", $1, n / $3, $2 }'
}

for threads in 0 1; do
    for name in short long; do
        compare "$name.bam" "$name.bam" "samtools fasta -@ $threads $name.bam >out.fa" \
            "$mambase tokenize -q -@ $threads -o out.npy $name.bam"
    done
done
for file in short.fq short.fq.gz; do
    compare "$file" "$file" "seqtk seq -A $file >out.fa" "$mambase tokenize -q -@ 0 -o out.npy $file"
done
