"""Building blocks of networks: blocks with scalable skip connections, stems, the chain of named blocks."""
