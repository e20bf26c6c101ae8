"""Axes, checks, time constants, seeding, surrogates, batch and task types. Imports no other room.

Axes, always in this order: time, batch, then neuron (or channel, height, width). Weights are ``[post, pre]``.
"""
