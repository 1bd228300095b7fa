from bitsweep import rule_stage
from bitsweep.config import Model
from bitsweep.script import script
from bitsweep.trace import trace

with script(snakemake):
    model = Model.model_validate(snakemake.params.model)
    rule_stage.run(
        snakemake,
        finish=lambda inputs, outputs: trace(snakemake.wildcards.model, model, outputs),
    )
