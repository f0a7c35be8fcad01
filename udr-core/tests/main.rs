//! Integration tests of udr-core.

mod architecture;
mod transactions;
