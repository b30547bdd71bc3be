"""Stages made for one test each, run as workers name them."""
