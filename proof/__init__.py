"""The delivery promise, proven with the real process: programs of ours that anybody can run (`make crash`)."""
