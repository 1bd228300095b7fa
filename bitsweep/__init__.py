"""bitsweep: how few bits can an image classifier run on, and where does the compiler give up?"""

__version__ = "0.1.0"
