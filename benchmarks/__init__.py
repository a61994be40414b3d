"""What `make bench` runs. Each benchmark writes a file to `benchmarks/results/`."""
