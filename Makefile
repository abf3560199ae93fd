# Shortcuts; the commands themselves are in README.md and .ci/run.
.PHONY: conformance ci

# The binary and the lab's controllers against components that others wrote: conformance/README.md.
conformance:
	conformance/run

# What the gate runs.
ci:
	.ci/run
