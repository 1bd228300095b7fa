from bitsweep import training
from bitsweep.config import Model
from bitsweep.script import script

with script(snakemake) as tell:
    training.write(
        snakemake.wildcards.model,
        Model.model_validate(snakemake.params.model),
        weights=snakemake.output.weights,
        record=snakemake.output.training,
        table=snakemake.output.epochs,
        tell=tell,
    )
