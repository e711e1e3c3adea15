"""Bob: an independent Matrix client (matrix-js-sdk with its Rust crypto) as a process."""
