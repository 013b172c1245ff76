"""What a network is fed to look at its activations: unlabelled samples, read or made up."""
