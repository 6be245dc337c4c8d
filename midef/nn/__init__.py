"""What networks are made of: blocks whose skip connections can be scaled, stems, and the chain of named blocks."""
