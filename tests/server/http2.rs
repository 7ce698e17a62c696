//! HTTP/2 frame by frame: its time-outs, its goodbye, and the floods it is known for.
