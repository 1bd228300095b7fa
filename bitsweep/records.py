"""What Snakemake 9.27 records of a job's parameters, by which it knows that they changed."""

from bitsweep import upstream


def mend(persistence: type) -> None:
    """Let the class `PersistenceBase` not import pandas to see whether a parameter is a table.

    No parameter of ours is one, and a fourth of a second goes by at every start.
    """
    builtin = persistence._serialize_param_builtin
    if upstream.fits("snakemake", "9.27.1", {builtin: ("self", "value")}):
        persistence._serialize_param = property(lambda self: self._serialize_param_builtin)
