//! The command `alpha`.

fn main() {}
