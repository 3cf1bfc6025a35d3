"""accelsim: attention as cascades of Einsums, simulated on accelerators described in YAML."""
