"""One program for many members, such as seeds, on many devices and hosts."""
