"""What a node does and how it is, on a person's terminal, with the keys that stop it."""
