#!/usr/bin/env bash
# Trains `nuclei` again: models/nuclei/train.sh DATA RUN, where DATA is BBBC038 with images/, masks/ and index.csv
# (columns id, kind: fluorescence, histology, brightfield). It can be stopped: flowseg train --resume RUN goes on.
set -euo pipefail
data=${1:?the folder with images/, masks/ and index.csv} run=${2:?the folder of the run}
flowseg train "$data" -o "$run" --pretrained none --inputs rgb --widths 32,64,128,256 --diameter-mean 20 \
  --columns "$data/index.csv" --stratify kind --balance kind --evenness 0.5 --val-part 0.15 --seed 1 \
  --crops 40000 --crop-size 128 --batch-size 16 --lr 0.003 --ema 0.998 --reports 10 \
  --augment scale=1.0 --augment contrast=0.4 --augment brightness=0.15 --augment gamma=0.4 \
  --augment noise=0.08 --augment blur=1.5 --augment invert=0.3 --licence CC0-1.0
