"""The arena: many policies on the same traffic, over many cases, on as many cores as there are."""
