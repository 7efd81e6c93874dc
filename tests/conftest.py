"""What every test shares: hypothesis measures no time, for this may be a busy machine."""

from hypothesis import settings

settings.register_profile("chronos", deadline=None)
settings.load_profile("chronos")
