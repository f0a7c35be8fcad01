//! Nothing to see here: this package holds targets only.
