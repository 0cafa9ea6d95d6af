"""Durable workflows for Django: plain Python classes that survive crashes, deploys and months."""
