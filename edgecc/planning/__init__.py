"""The planner: what each convolution becomes, within the user's budget, at the target's prices."""
