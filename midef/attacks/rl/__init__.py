"""Reinforcement learning of attacks."""
