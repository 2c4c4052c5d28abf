"""The feed as a pure fold: records, assignments and outcomes in, instructions out; time is an argument."""
