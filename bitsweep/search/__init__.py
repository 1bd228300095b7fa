"""From what each layer costs at each width to a plan: bits layer by layer, under a budget."""
