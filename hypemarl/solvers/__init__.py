"""PDE solvers, built once and then only stepped; they never see an agent."""
