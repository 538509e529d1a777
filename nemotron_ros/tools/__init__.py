"""What may be done: the tool file, schemas, validation, the guard."""
