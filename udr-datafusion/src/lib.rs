//! UDR as a plug-in for Apache DataFusion.

pub mod sql;
