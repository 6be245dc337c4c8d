"""The package of somebody else is installed and imported by its tests alone, never into this process."""

collect_ignore = ["midef_extras", "suites.py"]
