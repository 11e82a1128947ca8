#!/usr/bin/env bash
# Trains `nuclei` again: models/nuclei/train.sh DATA RUN, where DATA is BBBC038 with images/, masks/ and index.csv
# (columns id, kind: fluorescence, histology, brightfield); RUN/nuclei.safetensors is what comes out. It can be stopped:
# the same command goes on.
set -euo pipefail
data=${1:?the folder with images/, masks/ and index.csv} run=${2:?the folder of the run}
here=$(cd "$(dirname "$0")" && pwd)
columns="$data/index.csv"
how=(
  --stratify kind --balance kind --evenness 0.5
  --licence CC0-1.0
  --augment scale=1.0 --augment contrast=0.4 --augment brightness=0.15 --augment gamma=0.4
  --augment noise=0.08 --augment blur=1.5 --augment invert=0.3
)

# part NAME DATA OPTION...: train, or go on, or do nothing where it is done.
part() {
  local folder="$run/$1"; shift
  if [ -e "$folder/MODEL_CARD.md" ]; then return; fi
  if [ -e "$folder/config.json" ]; then flowseg train --resume "$folder"; return; fi
  flowseg train "$@" -o "$folder" --columns "$columns" "${how[@]}"
}

# From nothing, on nuclei of 20 pixels: what many images have.
part first "$data" --val-part 0.15 --seed 1 --pretrained none --inputs rgb --widths 32,64,128,256 --diameter-mean 20 \
  --crops 40000 --crop-size 128 --batch-size 16 --lr 0.003 --ema 0.998 --reports 10
# On larger ones, which keep what small nuclei and wrong diameters lose, in other colours.
part second "$data" --val-part 0.15 --seed 1 --pretrained "$run/first/model.safetensors" --diameter-mean 26 \
  --crops 44000 --crop-size 144 --batch-size 16 --lr 0.002 --ema 0.998 --reports 8 --augment colour=0.3
# Once more, in smaller steps.
part third "$data" --val-part 0.15 --seed 1 --pretrained "$run/second/model.safetensors" --diameter-mean 26 \
  --crops 58000 --crop-size 144 --batch-size 8 --lr 0.0015 --ema 0.999 --reports 4 --augment colour=0.3

# Again, on crops that another seed draws. It would hold back other images, too, so those that were are put apart.
for folder in images masks; do
  mkdir -p "$run/learned/$folder" "$run/held-back/$folder"
  for file in "$data/$folder"/*; do
    name=$(basename "${file%.*}")
    if grep -qx "$name" "$here/validation.txt"; then to=held-back; else to=learned; fi
    ln -sf "$(realpath "$file")" "$run/$to/$folder/"
  done
done
part fourth "$run/learned" --val "$run/held-back" --seed 4 --pretrained "$run/third/model.safetensors" \
  --diameter-mean 26 --crops 54000 --crop-size 144 --batch-size 8 --lr 0.0015 --ema 0.999 --reports 4 \
  --augment colour=0.3

# For long, on what is drawn a little larger: minutes on a GPU, most of a day on a processor. One report, so that its end
# is kept, whatever scored best on the way; unless it is no better than the start.
part fifth "$run/learned" --val "$run/held-back" --seed 5 --pretrained "$run/fourth/model.safetensors" \
  --diameter-mean 30 --crops 480000 --crop-size 160 --batch-size 32 --lr 0.002 --ema 0.999 --reports 1 \
  --augment colour=0.3

# On copies that are spoiled as pictures from elsewhere are, and on the images themselves.
mkdir -p "$run/spoiled"
python "$here/../../benchmarks/spoil.py" "$run/learned" "$run/spoiled" --copies 3 --seed 6
for folder in images masks; do cp -P "$run/learned/$folder"/* "$run/spoiled/$folder/"; done
columns="$run/kinds.csv"
awk -F, -v OFS=, 'NR == 1 {print; next} {name = $1; print; for (n = 0; n < 3; n++) {$1 = name "-" n; print}}' \
  "$data/index.csv" > "$columns"
part sixth "$run/spoiled" --val-part 0 --seed 6 --pretrained "$run/fifth/model.safetensors" --diameter-mean 30 \
  --crops 16000 --crop-size 144 --batch-size 8 --lr 0.001 --ema 0.998 --reports 8 --augment colour=0.3

python - "$run/sixth/model.safetensors" "$run/fifth/model.safetensors" "$run/nuclei.safetensors" <<'PYTHON'
import sys
from dataclasses import replace

from flowseg import checkpoint

found, chosen = map(checkpoint.read, sys.argv[1:3])
groups = chosen.config.group_thresholds  # and the others, which it began with, as chosen after the fifth
config = replace(
    found.config,
    name="nuclei",
    diameter_mean=34.0,  # of 15 to 60 pixels seen in training: half and twice of it are still near
    group_thresholds={name: replace(one, diameter=None) for name, one in groups.items()},  # it differs within a group
    training_data="455 images of BBBC038 (Data Science Bowl 2018, stage 1), masks corrected by the community; CC0-1.0",
    citation="Caicedo et al., Nature Methods 16, 1247-1253 (2019), doi:10.1038/s41592-019-0612-7",
)
print(checkpoint.write_flowseg(sys.argv[3], config, found.arrays, half=True))
PYTHON
