# In place of every stage of a sweep: leaves its outputs, empty. `scale.py` measures with it.
touch "${snakemake_output[@]}"
