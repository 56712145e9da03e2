"""Pictures in files: read, written, converted, resized. No MXNet in this room."""
