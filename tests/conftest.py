"""Properties are tested without a deadline: how long an example takes is the machine's affair."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items):
    """Begin with Slurm's tests, which are the longest and mostly wait, beside all the others."""
    items.sort(key=lambda item: item.get_closest_marker("slurm") is None)
