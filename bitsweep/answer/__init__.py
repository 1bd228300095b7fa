"""The answer: what the searches for bits came to, as a sentence, and as tables to be drawn."""
