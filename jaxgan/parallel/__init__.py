"""One program on many seeds, devices and hosts."""
