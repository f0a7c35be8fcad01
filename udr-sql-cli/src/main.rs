//! The udr command.
fn main() {}
