"""Rewards, advantages, the clipped losses, the update and the PPO loop."""
