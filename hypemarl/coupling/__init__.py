"""Agents and solver joined: layout, actuators, sensors, rewards and the plant."""
