"""What is measured of a sample of each modality; the table of modalities says by which function."""
