"""The planner beside a real stack: parts put together, memory recovered, the one loop run on a wall clock."""
