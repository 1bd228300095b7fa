from bitsweep import models
from bitsweep.config import Model
from bitsweep.script import script

with script(snakemake):
    models.download(Model.model_validate(snakemake.params.model), snakemake.output.record)
