"""Accounts, domains, zones, records and sites: the customers' side of the model."""
