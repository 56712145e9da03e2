from tests.worker.installed import installed

__all__ = ["installed"]
