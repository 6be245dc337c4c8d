"""What several analyses read from a store."""
