"""The profile: where a network's time goes, by operator, beside what the machine could do."""
