#!/usr/bin/env bash
# Species told apart by a classifier, beside 6-mers and chance, on the larger public data (data/README.md of that folder):
#   species.sh DATA OUT MODEL TASK [options of classify train]
# DATA: the folder; OUT: made, one directory a task; MODEL: a pretrained model, or - for a fresh one of preset tiny; options, such as --freeze, --steps or --lr, go to
# `classify train`. MAMBASE names the program (else the one on PATH). A task is
#   bacteria             three bacteria, windows of 1 kb, last 20 % of each genome
#   yeasts-chromosomes   three yeasts, 1 kb, chromosomes X and XI of the strains that were trained on
#   yeasts-strains       three yeasts, 1 kb, chromosomes X and XI of strains that were not
#   apes-1k -4k -16k     four apes, scaffolds of chromosome 22 that were not trained on, at 1, 4, 16 kb
# Writes OUT/TASK/samples.tsv, OUT/TASK/model (the classifier) and OUT/TASK/eval.tsv; run again it goes on where it was.
set -euo pipefail
data=$(realpath "$1") model=$3 task=$4
out=$2/$task
shift 4
mambase=${MAMBASE:-mambase}
mkdir -p "$out"

lengths() { # FASTA: name and length of each record
    zcat "$1" | awk '/^>/ { if (name) print name "\t" n; name = substr($1, 2); n = 0; next } { n += length($0) } END { print name "\t" n }'
}

# 72 % to train, 8 % to validate, 20 % to test, 1 kb left out between them. Names hold '|' and ':', hence braces.
bacteria() {
    local file
    for file in EColi__MG1655-K12 HPylori__G27 SAureus__N315; do
        lengths "$data/bacteria/$file.fa.gz" | awk -v file="$data/bacteria/$file.fa.gz" -v label="${file%%__*}" '{
            a = int($2 * 0.72); b = int($2 * 0.8)
            row = file "\t" label "\t{" $1 "}:"
            print row "1-" a - 1000 "\ttrain"; print row a + 1 "-" b - 1000 "\tvalid"; print row b + 1 "-" $2 "\ttest"
        }'
    done
}

# Each genome has a placeholder of 17,357 N, which no window holds. S. arboricola has one strain: its test is of other chromosomes alone. SK1 and YPS128 are no
# near-clones of each other, nor are CBS432 and YPS138 (those of SK1 and YPS138 are not among these genomes).
yeasts() { # STRAINS TO TRAIN ON, STRAINS TO TEST ON
    local strain chromosome part
    for strain in cerevisiae.S288C cerevisiae.SK1 cerevisiae.YPS128 paradoxus.CBS432 paradoxus.YPS138 arboricola.Sarb; do
        for chromosome in I II III IV V VI VII VIII IX X XI; do
            case $chromosome in
                IX) part=valid ;;
                X | XI) part=test ;;
                *) part=train ;;
            esac
            case "$part $1 - $2" in
                test*' - '*"$strain"* | train*"$strain"*' - '* | valid*"$strain"*' - '*)
                    printf '%s\t%s\tchr%s\t%s\n' "$data/yeast/$strain.chrI-XI.fa.gz" "${strain%%.*}" $chromosome $part
                    ;;
            esac
        done
    done
}

# Scaffold n of each ape is the same locus: the last 14 of 66 are tested on, six validate. Pieces within a scaffold are joined by ten N, in all four apes at the
# same places: --gap 11 lets windows go over those and over nothing longer. Case is never seen.
apes() {
    local ape scaffold part
    for ape in human chimp gorilla orangutan; do
        for scaffold in $(seq 0 65); do
            part=train
            [ "$scaffold" -lt 46 ] || part=valid
            [ "$scaffold" -lt 52 ] || part=test
            printf '%s\t%s\t%s_sc%04d\t%s\n' "$data/apes_chr22/$ape.fa.gz" $ape $ape "$scaffold" $part
        done
    done
}

all='cerevisiae.S288C cerevisiae.SK1 cerevisiae.YPS128 paradoxus.CBS432 paradoxus.YPS138 arboricola.Sarb'
context=1000
gap=1
{
    printf 'path\tlabel\tregion\tsplit\n'
    case $task in
        bacteria) bacteria ;;
        yeasts-chromosomes) yeasts "$all" "$all" ;;
        yeasts-strains) yeasts 'cerevisiae.S288C cerevisiae.SK1 paradoxus.CBS432 arboricola.Sarb' 'cerevisiae.YPS128 paradoxus.YPS138 arboricola.Sarb' ;;
        apes-*) apes ;;
        *) echo "species.sh: no task '$task'" >&2 && exit 2 ;;
    esac
} >"$out/samples.tsv"
case $task in
    apes-1k) gap=11 ;;
    apes-4k) context=4000 gap=11 ;;
    apes-16k) context=16000 gap=11 ;;
esac

if [ "$model" = - ]; then
    model=$out/fresh
    [ -e "$model" ] || "$mambase" model init -q -o "$model" --preset tiny --seed 1
fi
"$mambase" classify train -m "$model" -o "$out/model" --samples "$out/samples.tsv" --context $context --gap $gap "$@"
"$mambase" classify evaluate -m "$out/model" --samples "$out/samples.tsv" --kmer-baseline 6 -o "$out/eval.tsv"
cut -f 1-6 "$out/eval.tsv"
