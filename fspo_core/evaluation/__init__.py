"""How good the answers are: winrates, judges, tables."""
