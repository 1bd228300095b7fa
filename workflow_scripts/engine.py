from bitsweep.engines.install import install
from bitsweep.script import script

with script(snakemake):
    install(
        snakemake.wildcards.engine,
        requirements=dict(snakemake.input.items()),
        python_path=snakemake.params.python_path,
        record=snakemake.output.record,
        log=snakemake.log[0],
    )
