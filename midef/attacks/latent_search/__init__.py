"""The latent search shared by GAN attacks, and its parts."""
