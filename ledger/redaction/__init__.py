"""Taking secrets out of an event before it is hashed. Pure, but for the key that tells masked names apart."""
