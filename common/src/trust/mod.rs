//! Trust records.
